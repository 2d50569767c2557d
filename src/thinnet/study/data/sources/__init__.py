"""Data of the user by path: pictures, MNIST and CIFAR files, and texts. Each reader returns arrays and names a network."""
