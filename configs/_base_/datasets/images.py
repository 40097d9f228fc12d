"""No data set: any images, and words that the user gives."""

on = 'images'
words = None
