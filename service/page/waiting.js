// How far the work is: the thin bar, the pill over the picture, and the words for a screen reader.

const announcer = document.querySelector("#announce");

export const announce = (text) => { announcer.textContent = text; };

export class Waiting {
  constructor(frame) {
    this.bar = frame.querySelector(".progress");
    this.pill = frame.querySelector(".pill");
  }

  begin(text) {
    this.bar.toggleAttribute("data-waiting", true);
    this.bar.removeAttribute("aria-valuenow");
    this.#show(text);
  }

  step(step, steps) {
    this.bar.removeAttribute("data-waiting");
    this.bar.firstElementChild.style.transform = `scaleX(${step / steps})`;
    this.bar.setAttribute("aria-valuemax", steps);
    this.bar.setAttribute("aria-valuenow", step);
    this.#show(`Step ${step} of ${steps}`);
  }

  #show(text) {
    this.bar.hidden = this.pill.hidden = false;
    this.pill.textContent = text;
    announce(text);
  }

  end() {
    this.bar.hidden = this.pill.hidden = true;
    this.bar.firstElementChild.style.transform = "";
  }
}
