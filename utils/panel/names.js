// Names for what ipywidgets leaves without one, so that a screen reader can say them: a slider's
// handle is called what stands before it, a picture what stands under it. Runs once, with `this` an
// image in the panel's heading, when that image has loaded.
let tries = 100;
const begin = () => {
  const panel = this.closest(".course-panel");
  if (!panel) {
    if (tries-- > 0) setTimeout(begin, 50); // the heading comes before its panel
    return;
  }
  const name = () => {
    for (const handle of panel.querySelectorAll('[role="slider"]:not([aria-label])')) {
      const label = handle.closest(".jupyter-widgets").querySelector(".widget-label");
      if (label) handle.setAttribute("aria-label", label.textContent);
    }
    for (const image of panel.querySelectorAll("img.widget-image")) {
      let around = image.parentElement;
      while (around !== panel && !around.querySelector(".cp-note")) around = around.parentElement;
      const words = [...around.querySelectorAll(".cp-note")].pop();
      const alt = words ? words.textContent : "picture";
      if (image.alt !== alt) image.alt = alt;
    }
  };
  new MutationObserver(name).observe(panel, { childList: true, subtree: true });
  name();
};
begin();
