"""Where to start: seven questions, each about what one part of the course takes as known."""

from utils.exercises import _quiz
from utils.exercises._engine import ChoiceExercise

dense = ChoiceExercise(
    "dense",
    "64 grey pictures of 28×28 pixels, flattened, go through a dense layer from 784 to 10. "
    "What comes out, and how many numbers does the layer learn?",
    options={
        "a": "an array (64, 10); 7,850 numbers",
        "b": "an array (64, 10); 502,400 numbers, because there are 64 pictures",
        "c": "an array (784, 10); 7,840 numbers",
    },
    answer="a",
    why={
        "a": "784 × 10 weights and 10 biases, the same for every picture of the batch.",
        "b": "all pictures of a batch share the weights: 784 × 10, and 10 biases.",
        "c": "784 × 10 are the weights; what comes out is ten numbers for each of 64 pictures.",
    },
)

descent = ChoiceExercise(
    "descent",
    "You have the gradient of a loss with respect to a weight, and it is positive. "
    "What does a step of gradient descent do?",
    options={
        "a": "it makes the weight larger, because the gradient points upwards",
        "b": "it makes the weight smaller, by the learning rate times the gradient",
        "c": "it puts the gradient in the weight's place",
    },
    answer="b",
    why={
        "a": "upwards is where the loss grows; descent goes the other way.",
        "b": "the loss grows with the weight, so the step goes down.",
        "c": "a gradient says in which direction and how steeply, not where to end.",
    },
)

code = ChoiceExercise(
    "code",
    "A plain autoencoder repairs digits well. You decode a code drawn from a normal distribution. "
    "What do you expect?",
    options={
        "a": "a digit that looks like a new one",
        "b": "the mean of all training digits",
        "c": "often no digit: nothing has told the codes where to lie",
    },
    answer="c",
    why={
        "a": "only a code that some digit leads to decodes well, and nobody knows where they lie.",
        "b": "that is what it would learn without any code; most codes decode to something else.",
        "c": "its loss asks for repaired digits only, so codes lie wherever the encoder put them.",
    },
)

bound = ChoiceExercise(
    "bound",
    "A variational autoencoder's loss holds a KL divergence. What does it pull towards what?",
    options={
        "a": "the distribution of each picture's codes towards the prior",
        "b": "the rebuilt picture towards the picture",
        "c": "the weights towards zero",
    },
    answer="a",
    why={
        "a": "which is why codes drawn from the prior decode to something afterwards.",
        "b": "that is the other term, the likelihood.",
        "c": "that would be weight decay; this one acts on distributions of codes.",
    },
)

game = ChoiceExercise(
    "game",
    "In a generative adversarial network, where does the generator's gradient come from?",
    options={
        "a": "from the distance between its picture and the nearest real one",
        "b": "from the discriminator's judgement of its picture, back through the discriminator",
        "c": "from the real pictures, which the generator sees in turn with its own",
    },
    answer="b",
    why={
        "a": "it never learns which real picture is near; it is told only how real it looks.",
        "b": "so a discriminator that is too sure of itself teaches it little.",
        "c": "the generator never sees a real picture.",
    },
)

convolution = ChoiceExercise(
    "convolution",
    "A 3×3 convolution with stride 2 and padding 1 takes 28×28×1 to 16 channels. "
    "What comes out, and how many numbers does it learn, with biases?",
    options={
        "a": "28×28×16; 160 numbers",
        "b": "14×14×16; 160 numbers",
        "c": "14×14×16; 28,240 numbers, as there is a filter for each place",
    },
    answer="b",
    why={
        "a": "with stride 2 it looks at every second place only, in both directions.",
        "b": "16 filters of 3 × 3 × 1 and 16 biases, used at 14 × 14 places.",
        "c": "a filter is the same at every place; that is what makes it a convolution.",
    },
)

average = ChoiceExercise(
    "average",
    "Two processes hold the same weights, take one half of a batch each, and average their "
    "gradients. How does the step differ from one process with the whole batch?",
    options={
        "a": "not at all, but for rounding",
        "b": "it is twice as long",
        "c": "it is noisier, because each process sees fewer pictures",
    },
    answer="a",
    why={
        "a": "the mean of two halves' means is the mean of the whole.",
        "b": "a sum would be; an average is not.",
        "c": "each half's gradient is noisier, but their average is the whole batch's.",
    },
)

#: Each question, and the notebook to start with for whoever does not know its answer.
START = {
    dense: "00_start_here",
    descent: "00_start_here",
    code: "01_autoencoder",
    bound: "02_vae",
    game: "07_dcgan",
    convolution: "10_alexnet",
    average: "17_gpu",
}


def placement() -> None:
    """Ask what the parts of the course take as known, and suggest where to start.

    With a front end: radio buttons, and a button below them. Without one, the questions as text.
    """
    _quiz.ask(list(START), "Where do I start?", suggest)


def suggest(right: list[bool]) -> str:
    """Say where to start, from which of the questions were answered rightly, in their order.

    The first notebook in reading order that teaches something new: it needs only what stands
    before it.
    """
    new = list(
        dict.fromkeys(name for name, knows in zip(START.values(), right, strict=True) if not knows)
    )
    if not new:
        return (
            "You know what every part takes as known: start with the part that you like. "
            "Each begins with its first notebook (01, 07, 10, 17)."
        )
    if new[0] == "00_start_here":
        return "Start here: read this page to its end, then go on with 01_autoencoder."
    later = f" New to you further on: {', '.join(new[1:])}." if new[1:] else ""
    return f"Read this page for how the course works, then start with {new[0]}.{later}"
