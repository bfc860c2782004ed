"""The app's code around a model, in Dart and Kotlin."""
