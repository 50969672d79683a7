"""Layers for bare TensorFlow: variables and one operation each, no Keras.

They are built by hand in `01_autoencoder`, part 4 (batch normalisation in `07_dcgan`, part 4), and
from then on imported from here. This is the one module of `utils`, with `utils.tf_optimizers`,
that needs TensorFlow to be imported: the TensorFlow sections of the lessons do so.
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
        What the bias starts from: a number, or one for each unit. None leaves the bias out.
    """

    def __init__(self, n_in, n_out, bias=0.0):
        super().__init__()
        self.kernel = tf.Variable(glorot_uniform((n_in, n_out), n_in, n_out))
        self.bias = _bias(n_out, bias)

    def __call__(self, x):  # …×n_in → …×n_out
        """Apply the layer to x of shape (…, n_in)."""
        return _add(tf.tensordot(x, self.kernel, 1), self.bias)


def _bias(n_out, start):
    """A bias for each output; None before a batch normalisation, which would subtract it again."""
    return None if start is None else tf.Variable(tf.zeros(n_out) + start)


def _add(y, bias):
    return y if bias is None else y + bias


class Conv2D(tf.Module):
    """A convolution with "same" padding: H×W×n_in → ⌈H/stride⌉×⌈W/stride⌉×n_out.

    Built in 01_autoencoder, part 4. The kernel is (size, size, n_in, n_out). Where the padding is
    odd, TensorFlow puts the larger half below and to the right. The bias is as in `Dense`.
    """

    def __init__(self, n_in, n_out, size, stride=1, bias=0.0):
        super().__init__()
        shape, window = (size, size, n_in, n_out), size * size
        self.kernel = tf.Variable(glorot_uniform(shape, window * n_in, window * n_out))
        self.bias = _bias(n_out, bias)
        self._stride = stride

    def __call__(self, x):  # B×H×W×n_in
        """Apply the layer to images (B, H, W, n_in)."""
        return _add(tf.nn.conv2d(x, self.kernel, self._stride, "SAME"), self.bias)


class Conv2DTranspose(tf.Module):
    """The transpose of a strided convolution: H×W×n_in → stride·H × stride·W × n_out.

    Built in 01_autoencoder, part 4. The kernel is (size, size, n_out, n_in): that of the
    convolution whose transpose it is. The bias is as in `Dense`.
    """

    def __init__(self, n_in, n_out, size, stride=2, bias=0.0):
        super().__init__()
        shape, window = (size, size, n_out, n_in), size * size
        self.kernel = tf.Variable(glorot_uniform(shape, window * n_in, window * n_out))
        self.bias = _bias(n_out, bias)
        self._n_out, self._stride = n_out, stride

    def __call__(self, x):  # B×H×W×n_in
        """Apply the layer to images (B, H, W, n_in)."""
        batch, height, width = tf.shape(x)[0], x.shape[1], x.shape[2]
        shape = (batch, height * self._stride, width * self._stride, self._n_out)
        y = tf.nn.conv2d_transpose(x, self.kernel, shape, self._stride, "SAME")
        return _add(y, self.bias)


class BatchNorm(tf.Module):
    """Batch normalisation: each channel to mean 0 and variance 1, then scaled and shifted.

    Built in 07_dcgan, part 4. In training the statistics are the batch's (Ioffe and Szegedy 2015,
    algorithm 1), and their moving averages follow; otherwise they are the moving averages. As in
    PyTorch, what divides is the biased variance and what is remembered the unbiased one (their
    algorithm 2), where Keras remembers the biased one.

    Parameters
    ----------
    channels
        Size of the last axis.
    momentum
        How much of the moving average one batch leaves: 0.9 here and in Keras is PyTorch's 0.1.
    epsilon
        Added to the variance.
    """

    def __init__(self, channels, momentum=0.9, epsilon=1e-5):
        super().__init__()
        self.gamma = tf.Variable(tf.ones(channels))
        self.beta = tf.Variable(tf.zeros(channels))
        self.moving_mean = tf.Variable(tf.zeros(channels), trainable=False)
        self.moving_variance = tf.Variable(tf.ones(channels), trainable=False)
        self._momentum, self._epsilon = momentum, epsilon

    def __call__(self, x, training):  # …×channels → …×channels
        """Apply the layer to x of shape (…, channels)."""
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
            n = tf.cast(tf.size(x) / tf.size(mean), tf.float32)  # values a channel has in the batch
            rest = 1 - self._momentum
            self.moving_mean.assign_sub(rest * (self.moving_mean - mean))
            unbiased = variance * n / (n - 1)
            self.moving_variance.assign_sub(rest * (self.moving_variance - unbiased))
        return tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self._epsilon)
