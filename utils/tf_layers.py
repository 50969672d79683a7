"""Layers for bare TensorFlow: variables and one operation each, no Keras.

They are built by hand in `01_autoencoder`, part 4, and from then on imported from here. This is
the one module of `utils`, with `utils.tf_optimizers`, that needs TensorFlow to be imported: the
TensorFlow sections of the lessons do so.
"""

import tensorflow as tf


def glorot_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int) -> tf.Tensor:
    """Uniform weights with a variance of 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 16).

    Parameters
    ----------
    shape
        Of the weights to draw.
    fan_in, fan_out
        How many inputs one output sums over, and how many outputs one input reaches.
    """
    limit = (6 / (fan_in + fan_out)) ** 0.5
    return tf.random.uniform(shape, -limit, limit)


class Dense(tf.Module):
    """y = x W + b with Glorot-uniform weights (01_autoencoder, part 4).

    Parameters
    ----------
    n_in, n_out
        Units before and after.
    bias
        What the bias starts from: a number, or one for each unit.
    """

    def __init__(self, n_in, n_out, bias=0.0):
        super().__init__()
        self.kernel = tf.Variable(glorot_uniform((n_in, n_out), n_in, n_out))
        self.bias = tf.Variable(tf.zeros(n_out) + bias)

    def __call__(self, x):  # …×n_in → …×n_out
        """Apply the layer to x of shape (…, n_in)."""
        return tf.tensordot(x, self.kernel, 1) + self.bias


class Conv2D(tf.Module):
    """A convolution with "same" padding: H×W×n_in → ⌈H/stride⌉×⌈W/stride⌉×n_out.

    Built in 01_autoencoder, part 4. The kernel is (size, size, n_in, n_out). Where the padding is
    odd, TensorFlow puts the larger half below and to the right.
    """

    def __init__(self, n_in, n_out, size, stride=1):
        super().__init__()
        shape, window = (size, size, n_in, n_out), size * size
        self.kernel = tf.Variable(glorot_uniform(shape, window * n_in, window * n_out))
        self.bias = tf.Variable(tf.zeros(n_out))
        self._stride = stride

    def __call__(self, x):  # B×H×W×n_in
        """Apply the layer to images (B, H, W, n_in)."""
        return tf.nn.conv2d(x, self.kernel, self._stride, "SAME") + self.bias


class Conv2DTranspose(tf.Module):
    """The transpose of a strided convolution: H×W×n_in → stride·H × stride·W × n_out.

    Built in 01_autoencoder, part 4. The kernel is (size, size, n_out, n_in): that of the
    convolution whose transpose it is.
    """

    def __init__(self, n_in, n_out, size, stride=2):
        super().__init__()
        shape, window = (size, size, n_out, n_in), size * size
        self.kernel = tf.Variable(glorot_uniform(shape, window * n_in, window * n_out))
        self.bias = tf.Variable(tf.zeros(n_out))
        self._n_out, self._stride = n_out, stride

    def __call__(self, x):  # B×H×W×n_in
        """Apply the layer to images (B, H, W, n_in)."""
        batch, height, width = tf.shape(x)[0], x.shape[1], x.shape[2]
        shape = (batch, height * self._stride, width * self._stride, self._n_out)
        return tf.nn.conv2d_transpose(x, self.kernel, shape, self._stride, "SAME") + self.bias
