"""What runs on the GPU, in Triton's language. Imported only once a kernel is to be launched or compiled."""
