"use strict";
// Enlarge the image of a card, with its questions; the arrow keys go to the image before and after it.

class Viewer {
  constructor(dialog, cards) {
    Object.assign(this, { dialog, cards });
    for (const button of dialog.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => this.step(Number(button.dataset.step)));
    }
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => this.press(event));
    // The focus returns to the image that was shown last.
    dialog.addEventListener("close", () => this.card.querySelector(".enlarge").focus());
  }

  get all() {
    return [...this.cards.querySelectorAll(".card:has(.enlarge)")];
  }

  open(card) {
    this.show(card);
    this.dialog.showModal();
  }

  press(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.step(steps[event.key]);
  }

  step(by) {
    const next = this.all[this.all.indexOf(this.card) + by];
    if (next) this.show(next);
  }

  show(card) {
    const { dialog, all } = this;
    const place = all.indexOf(card);
    this.card = card;
    const image = dialog.querySelector("img");
    image.src = card.querySelector("img").src;
    const name = card.querySelector(".about-image").textContent.split(" · ")[0];
    image.alt = `${name}, enlarged`;
    dialog.querySelector("#viewer-title").textContent = `${name} · ${place + 1} of ${all.length}`;
    dialog.querySelector("[data-step='-1']").disabled = place === 0;
    dialog.querySelector("[data-step='1']").disabled = place === all.length - 1;
    dialog.querySelector(".asked").replaceChildren(...[...card.querySelectorAll(".question")].map(this.questionOf));
  }

  // Return a question of a card without what can be pressed in it.
  questionOf(question) {
    const item = document.createElement("li");
    const strip = document.createElement("p");
    strip.className = "strip";
    strip.append(...[...question.querySelector("summary").childNodes].map((one) => one.cloneNode(true)));
    const about = document.createElement("p");
    about.className = "quiet";
    about.textContent = question.querySelector(".about span").textContent.replace(/ ·$/, "");
    const [words, expected] = [".words", ".expected"].map((one) => question.querySelector(one).cloneNode(true));
    item.append(words, expected, strip, about);
    return item;
  }
}
