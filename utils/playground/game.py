"""The game: whose move it is, what was paid, and a picture of where it stands."""

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from utils import CourseError, plots, runtime
from utils.controls import Choice, Slider, collect
from utils.drawing import Drawing
from utils.playground import paint
from utils.playground.players import Cloud, Players

SHOWN = 500  # real points and samples in the picture
BURST = 100  # rounds that Run plays where a click cannot interrupt it (Colab)
MINE = "my drawing"
PAD = 28  # pixels of the pad in a row

# The playgrounds on show by title: running a cell again replaces the one it made before.
_PLAYGROUNDS: weakref.WeakValueDictionary[str, "Playground"] = weakref.WeakValueDictionary()


class Playground:
    """Play a GAN in the plane: move one player, or let both move, and watch.

    Without a front end `show` plays `rounds` rounds and shows where they led.

    Parameters
    ----------
    players
        Whoever plays; they are reset at once.
    clouds
        The data to choose from: a name for each cloud (points alone will do). What the learner
        draws is added.
    title
        What it is called. A playground of the same title takes an earlier one's place.
    rate
        Where the learning rates of both players stand at first.
    k
        Moves of the discriminator in a round, at first; the generator always moves once.
    batch
        Points in a step.
    reach
        The picture shows the square from −reach to reach.
    rounds
        How many rounds are played before the picture where nobody watches.
    seed
        Decides the players' weights and the batches; Reset begins the same game again.
    mode
        ``"auto"``, ``"thread"`` (play in the background) or ``"inline"`` (play a burst of rounds
        where the click is heard, as Colab needs it).

    Attributes
    ----------
    played
        Rounds so far. A single step of one player counts for none.
    losses
        What the discriminator and the generator paid last, or None.
    state
        ``"ready"``, ``"playing"`` or ``"paused"``.
    png
        The picture on show.

    Raises
    ------
    CourseError
        If there is no cloud, or one is not made of points in the picture.
    """

    def __init__(
        self,
        players: Players,
        clouds: Mapping[str, Cloud | np.ndarray],
        title: str,
        *,
        rate: float = 1e-3,
        k: int = 1,
        batch: int = 128,
        reach: float = 3.0,
        rounds: int = 300,
        seed: int = 0,
        mode: str = "auto",
    ) -> None:
        runtime.choose("The mode", mode, ("auto", "thread", "inline"))
        self.title, self._players, self._reach, self._seed = title, players, reach, seed
        self._clouds = {name: _checked(name, cloud, reach) for name, cloud in clouds.items()}
        if not self._clouds:
            raise CourseError(f"The playground {title!r} has no data: give it at least one cloud.")
        self._batch, self._rounds = batch, rounds
        self.controls = _controls(tuple(self._clouds), tuple(players.losses), rate, k)
        self.view: Any = None
        self.state, self.png = "ready", b""
        self._headless = runtime.headless()
        self.inline = mode == "inline" or mode == "auto" and runtime.in_colab()
        self._turn = threading.RLock()  # whoever holds it moves or looks; the others wait
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin()
        earlier = _PLAYGROUNDS.get(title)
        if earlier is not None:
            earlier.close()
        _PLAYGROUNDS[title] = self

    def _begin(self) -> None:
        self._players.reset(self._seed)
        self._rng = np.random.default_rng(self._seed)
        self.played, self.losses = 0, {"D": None, "G": None}

    # -- the game ----------------------------------------------------------------------------

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Every control's value as it stands, with `changes` in their place: all checked."""
        view = self.view
        read = (lambda c: c.default) if view is None else (lambda c: c.read(view.controls[c.name]))
        return collect(self.controls, read, **changes)

    def step_d(self, **changes: Any) -> float:
        """Move the discriminator once; returns what it paid."""
        with self._turn:
            s = self.settings(**changes)
            cloud = self._cloud(s)
            real = cloud.points[self._rng.integers(len(cloud.points), size=self._batch)]
            paid = float(self._players.step_d(real, s["loss"], s["rate_d"]))
            return self._paid("D", paid)

    def step_g(self, **changes: Any) -> float:
        """Move the generator once; returns what it paid."""
        with self._turn:
            s = self.settings(**changes)
            paid = float(self._players.step_g(self._batch, s["loss"], s["rate_g"]))
            return self._paid("G", paid)

    def play(self, rounds: int = 1, **changes: Any) -> None:
        """Play so many rounds: k moves of the discriminator, then one of the generator."""
        with self._turn:
            for _ in range(rounds):
                for _ in range(self.settings(**changes)["k"]):
                    self.step_d(**changes)
                self.step_g(**changes)
                self.played += 1

    def reset(self) -> None:
        """Stop, and begin the same game anew; controls and drawing stay as they are."""
        self._stop.set()
        with self._turn:
            self._begin()
            self.state = "ready"
            self._show_in_words()

    def run(self) -> None:
        """Play on until `pause`; where a click cannot interrupt, a burst of rounds."""
        with self._turn:
            if self.state == "playing":
                return
            self.state, self._stop = "playing", threading.Event()
        self._show_in_words()
        if self.inline:
            self._work(self._stop, BURST)
        else:
            work = threading.Thread(
                target=self._work, args=(self._stop,), name="course-playground", daemon=True
            )
            self._thread = work
            work.start()

    def pause(self) -> None:
        """Stop after the round that is being played."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nobody plays; return False if `timeout` seconds pass first."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self.state != "playing"

    def close(self) -> None:
        """Stop, and take the playground off the page for good."""
        self._stop.set()
        with self._turn:
            if self.view is not None:
                self.view.close()
                self.view = None

    def _work(self, stop: threading.Event, rounds: float = float("inf")) -> None:
        from utils.panel.pace import Throttle

        throttle = Throttle(share=0.4)
        while True:
            with self._turn:  # a reset that waited for its turn has set `stop` by now
                if stop.is_set() or rounds <= 0 or self.view is None:
                    break
                try:
                    self.play()
                except BaseException as error:  # a thread's error has nowhere else to go
                    self._complain(error)
                    break
                rounds -= 1
                if throttle.due():
                    with throttle.spending():
                        self._show_in_words()
            # A lock that is taken again at once is never free for a click.
            stop.wait(0.0005)
        with self._turn:
            if self._stop is stop and self.state == "playing":
                self.state = "paused"
                self._show_in_words()

    def _paid(self, who: str, paid: float) -> float:
        if not np.isfinite(paid):
            raise CourseError(
                f"The game has diverged: {who} pays {paid}. Press Reset and lower its rate."
            )
        self.losses[who] = paid
        return paid

    def _cloud(self, settings: dict[str, Any]) -> Cloud:
        if settings["data"] != MINE:
            return self._clouds[settings["data"]]
        return Cloud(paint.drawn_points(settings["drawing"], self._reach))

    # -- what is shown -----------------------------------------------------------------------

    def picture(self, **changes: Any) -> np.ndarray:
        """The discriminator's field with real points and samples on it: ``(364, 364, 3)`` uint8."""
        with self._turn:
            s = self.settings(**changes)
            axis = np.linspace(-self._reach, self._reach, paint.FIELD, dtype=np.float32)
            x, y = np.meshgrid(axis, -axis)  # the first row of a picture is its top
            places = np.stack([x.ravel(), y.ravel()], axis=1)
            field = np.asarray(self._players.field(places, s["loss"])).reshape(paint.FIELD, -1)
            samples = np.asarray(self._players.samples(SHOWN))
            points = self._cloud(s).points
        if not (np.isfinite(field).all() and np.isfinite(samples).all()):
            raise CourseError(
                "The game has diverged: field or samples are not numbers any more. Press Reset and "
                "lower the rates."
            )
        canvas = paint.background(field)
        some = np.random.default_rng(0).permutation(len(points))[:SHOWN]
        paint.dots(canvas, points[some], paint.POINT, self._reach)
        paint.dots(canvas, samples, paint.SAMPLE, self._reach)
        return canvas

    def words(self, **changes: Any) -> str:
        """Where the game stands: rounds, what the players paid, what is said of the samples."""
        s = self.settings(**changes)
        paid = [f"{who} pays {loss:.3g}" for who, loss in self.losses.items() if loss is not None]
        judge = self._cloud(s).judge
        said = [] if judge is None else [judge(np.asarray(self._players.samples(4 * SHOWN)))]
        return " · ".join([f"round {self.played:,}", *paid, *said])

    def show(self) -> None:
        """Display the playground; without a front end, the picture after `rounds` rounds.

        Raises
        ------
        Exception
            Without a front end, whatever the players raise. Elsewhere it is shown in words.
        """
        from utils.panel import still

        if self._headless:
            self.play(self._rounds)
            self.png, alt = plots.to_png(self.picture()), f"{paint.ALT} {self.words()}."
            still.show(self.png, alt)
            print(f"Figure: {alt}")
            return
        if self.view is None:
            from utils.playground.view import View

            self.view = View(self)
        self._show_in_words()
        still.show(self.png, f"{self.title}: {paint.ALT}", self.view.root)

    def redraw(self) -> None:
        """Show the game as it stands, after a control was moved; a run shows itself."""
        if self.state != "playing":
            self._show_in_words()

    def act(self, move: Callable[[], Any]) -> None:
        """Make a move for a button: errors are shown in words, and the picture follows."""
        with self._turn:
            try:
                move()
            except BaseException as error:  # a click's error has nowhere else to go
                self._complain(error)
                return
        self._show_in_words()

    def _show_in_words(self) -> None:
        with self._turn:
            if self.view is None:
                return
            try:
                self.png, words = plots.to_png(self.picture()), self.words()
            except BaseException as error:
                self._complain(error)
                return
            self.view.draw(self.png, words, self.state)

    def _complain(self, error: BaseException) -> None:
        from utils.panel.engine import explain

        self._stop.set()
        self.state = "paused"
        if self.view is not None:
            self.view.complain(self.state, *explain(error))


def _controls(clouds: tuple[str, ...], losses: tuple[str, ...], rate: float, k: int) -> tuple:
    span = {"low": 1e-5, "high": 1.0, "log": True}
    pad = np.zeros((PAD, PAD), np.uint8)
    return (
        Choice("data", clouds[0], [*clouds, MINE]),
        Choice("loss", losses[0], losses),
        Slider("k", k, 1, 20, label="D steps a round", help="The generator makes one."),
        Slider("rate_d", rate, **span, label="Rate of D"),
        Slider("rate_g", rate, **span, label="Rate of G"),
        Drawing("drawing", pad, label="Your points", help=f"To use them, set Data to “{MINE}”."),
    )


def _checked(name: str, cloud: Any, reach: float) -> Cloud:
    cloud = cloud if isinstance(cloud, Cloud) else Cloud(cloud)
    points = np.asarray(cloud.points)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or points.dtype.kind != "f":
        raise CourseError(
            f"{name} must be points (N, 2), floats, not {points.dtype} {points.shape}."
        )
    if not np.abs(points).max() <= reach:  # NaN is not within reach either
        raise CourseError(f"{name} has points beyond ±{reach:g}: scale them, or set `reach`.")
    return Cloud(points.astype(np.float32), cloud.judge)
