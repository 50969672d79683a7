"""Optimisers for bare TensorFlow, with their state in variables so that a run can be resumed.

Adam is built by hand in `01_autoencoder`, part 4, and from then on imported from here.
"""

import tensorflow as tf


class Adam(tf.Module):
    """Kingma and Ba's Adam (2015, algorithm 1) around TensorFlow's fused kernel.

    The kernel adds its epsilon to √v, the paper and PyTorch to the corrected √v̂: multiplied by
    √(1 − β₂ᵗ), the epsilon means the same in all three.

    Parameters
    ----------
    parameters
        The variables to move.
    epsilon
        ε of the paper, which suggests 1e-8, PyTorch's default; Keras's is 1e-7.
    beta1, beta2
        Decay of the two moving averages.
    """

    def __init__(self, parameters, epsilon=1e-8, beta1=0.9, beta2=0.999):
        super().__init__()
        self.parameters, self.epsilon = parameters, epsilon
        self.beta1, self.beta2 = beta1, beta2
        self.m = [tf.Variable(tf.zeros_like(w)) for w in parameters]
        self.v = [tf.Variable(tf.zeros_like(w)) for w in parameters]
        self.t = tf.Variable(0.0)

    def apply(self, gradients, rate):
        """Move every parameter by one step; `gradients` come in the order of `parameters`."""
        self.t.assign_add(1.0)
        beta1_power, beta2_power = self.beta1**self.t, self.beta2**self.t
        epsilon = self.epsilon * tf.sqrt(1 - beta2_power)
        for w, m, v, g in zip(self.parameters, self.m, self.v, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=w.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=beta1_power,
                beta2_power=beta2_power,
                lr=rate,
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=epsilon,
                grad=g,
            )


class SGD(tf.Module):
    """Plain gradient descent, with the face of `Adam`: where a step shows the gradient itself.

    Parameters
    ----------
    parameters
        The variables to move.
    """

    def __init__(self, parameters):
        super().__init__()
        self.parameters = parameters

    def apply(self, gradients, rate):
        """Move every parameter by one step; `gradients` come in the order of `parameters`."""
        for w, gradient in zip(self.parameters, gradients, strict=True):
            w.assign_sub(rate * gradient)
