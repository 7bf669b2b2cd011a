"use strict";
// List the changed questions, by image: those of one setting and one kind of change.

const CARDS_AT_ONCE = 24;
const LONG_LABEL = 6;

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function copyOf(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

const thousands = (n) => n.toLocaleString("en-US");
const counted = (n, what) => `${thousands(n)} ${what}${n === 1 ? "" : "s"}`;

// Describe the answers of a question at each setting: in a strip, and in whole.
class AnswerList {
  constructor({ points, baseline, bounds, right }, texts) {
    Object.assign(this, { points, baseline, bounds, right, texts });
  }

  // Return what is known of an answer at a setting; null where it was not asked there.
  at(question, place) {
    const [score, text] = [question.v[place], question.a[place]];
    if (score === null) return null;
    const { label } = this.points[place];
    const [low, high] = this.bounds;
    const reason = question.u?.[place];
    return {
      label,
      name: label === this.baseline ? `${label} (published)` : label,
      isRight: score >= this.right,
      answer: reason === undefined ? this.texts[text] || "(empty)" : "(no answer)",
      reason: reason === undefined ? "" : `: ${this.texts[reason]}`,
      // A score between none and all of the points says more than right or wrong.
      share: score > low && score < high ? ` (score ${score})` : "",
    };
  }

  strip(question, chosen) {
    const strip = document.createDocumentFragment();
    this.points.forEach((point, place) => {
      const one = this.at(question, place);
      if (!one) return;
      if (strip.hasChildNodes()) strip.append(element("span", "\u00a0· ", "dot"));
      const item = element("span", "", one.isRight ? "right" : "wrong");
      // That of a schedule or a policy may be wider than a narrow screen.
      item.classList.toggle("long", one.label.length > LONG_LABEL);
      const short = element("span", `${one.label.replace(/^k=/, "")} `);
      short.append(element("b", one.isRight ? "✓" : "✗"));
      // For the ear, the same in words.
      short.ariaHidden = "true";
      const spoken = element("span", `${one.label} ${one.isRight ? "right" : "wrong"}:`, "unseen");
      item.append(short, spoken, " ", element("span", one.answer, "said"), one.share);
      item.classList.toggle("chosen", point.label === chosen || point.label === this.baseline);
      item.title = this.line(one);
      strip.append(item);
    });
    return strip;
  }

  line(one) {
    return `${one.name}: ${one.isRight ? "right" : "wrong"}${one.share}, ${one.answer}${one.reason}`;
  }

  whole(question) {
    const list = element("ul", "", "whole");
    this.points.forEach((_, place) => {
      const one = this.at(question, place);
      if (!one) return;
      const item = element("li", "", one.isRight ? "right" : "wrong");
      item.append(element("b", one.isRight ? "✓ right" : "✗ wrong"), ` ${one.name}: ${one.answer}${one.reason}${one.share}`);
      list.append(item);
    });
    return list;
  }
}

class QuestionList {
  constructor(form, { series, questions, texts, images }) {
    Object.assign(this, { form, fields: form.elements, series, questions, texts, images });
    for (const id of ["cards", "count", "more", "sources"]) this[id] = document.getElementById(id);
    this.viewer = new Viewer(document.getElementById("viewer"), this.cards);
    this.fillRuns();
    form.addEventListener("change", (event) => this.changed(event.target));
    this.fields.text.addEventListener("input", (event) => this.changed(event.target));
    form.addEventListener("submit", (event) => event.preventDefault());
    this.more.addEventListener("click", () => this.showMore());
    window.addEventListener("hashchange", () => location.hash.includes("=") && this.readAddress());
    this.readAddress();
  }

  get run() {
    return this.series[Number(this.fields.run.value)];
  }

  // Return the state of the filters, as it is in the address.
  get chosen() {
    const { run, setting, kind, type, asked, text } = this.fields;
    return {
      run: this.series.length > 1 ? String(Number(run.value) + 1) : null,
      setting: setting.value,
      kind: kind.value,
      type: type.value,
      asked: asked.value,
      text: text.value.trim(),
    };
  }

  changed(field) {
    if (field.name === "run") this.showRun();
    if (field.name === "setting") this.showSetting();
    address.set({ ...this.chosen, q: null });
    this.show();
  }

  fillRuns() {
    fill(this.fields.run, this.series.map(({ name }, number) => [String(number), name]));
    this.form.querySelector("[data-filter=run]").hidden = this.series.length < 2;
  }

  // Show what the address says. A question alone is looked for in all settings.
  readAddress() {
    const { fields } = this;
    const wanted = Number(address.get("run") ?? 1) - 1;
    fields.run.value = String(this.series[wanted] ? wanted : 0);
    this.showRun();
    const q = address.get("q");
    choose(fields.setting, address.get("setting") ?? this.settingWith(q));
    this.showSetting(q);
    choose(fields.type, address.get("type"));
    choose(fields.asked, address.get("asked"));
    fields.text.value = address.get("text") ?? "";
    const kind = [...fields.kind].find((one) => one.value === address.get("kind"));
    if (kind) kind.checked = true;
    this.show(q);
    if (["run", "setting", "kind", "q"].some((key) => address.get(key) !== null)) this.goTo(q);
  }

  settingWith(q) {
    const place = this.own.find((one) => one.k === q)?.w.search(/[^-]/) ?? -1;
    return place < 0 ? this.run.start : this.run.points[place].label;
  }

  // Fill what depends on the run: its settings, and the types of its questions.
  showRun() {
    const { run, fields } = this;
    this.own = this.questions.filter((one) => one.s === Number(fields.run.value));
    this.answers = new AnswerList(run, this.texts);
    const points = run.points.filter(({ changed }) => changed);
    fill(fields.setting, points.map(({ label, changed }) => [
      label,
      `${label} (${thousands(changed.lost)} lost, ${thousands(changed.gained)} gained)`,
    ]));
    fields.setting.value = run.start;
    for (const [name, key] of [["type", "y"], ["asked", "z"]]) {
      const types = [...new Set(this.own.map((one) => this.texts[one[key]]))].filter(Boolean).sort();
      fill(fields[name], [["", "any"], ...types.map((text) => [text, text])]);
      this.form.querySelector(`[data-filter=${name}]`).hidden = types.length < 2;
    }
    this.showSetting();
  }

  // Fill what depends on the setting: how many questions changed in which way.
  showSetting(q = null) {
    const { run, fields } = this;
    this.place = run.points.findIndex(({ label }) => label === fields.setting.value);
    this.point = run.points[this.place];
    const kinds = [...fields.kind];
    for (const { value } of kinds) {
      this.form.querySelector(`[data-count=${value}]`).textContent = thousands(this.point.changed[value]);
    }
    const letter = this.own.find((one) => one.k === q)?.w[this.place];
    const asked = kinds.find(({ value }) => value[0] === letter);
    const filled = kinds.filter(({ value }) => this.point.changed[value]);
    (asked ?? filled.find(({ checked }) => checked) ?? filled[0] ?? kinds[0]).checked = true;
  }

  show(q = null) {
    const { setting, kind, type, asked, text } = this.chosen;
    const wanted = text.toLowerCase();
    const { texts, own, place } = this;
    const found = own.filter(
      (one) =>
        one.w[place] === kind[0] &&
        (type === "" || texts[one.y] === type) &&
        (asked === "" || texts[one.z] === asked) &&
        (wanted === "" || one.k === wanted || this.contains(one, wanted)),
    );
    this.groups = byImage(found);
    this.n = found.length;
    this.marked = q;
    this.nShown = 0;
    this.cards.replaceChildren();
    const marked = this.groups.findIndex((group) => group.some((one) => one.k === q));
    this.showMore(Math.max(CARDS_AT_ONCE, marked + 1));
    this.sources.replaceChildren(...this.sourceLine(setting));
  }

  contains({ q, t, a }, wanted) {
    return [q, t, ...a].some((number) => number !== null && this.texts[number].toLowerCase().includes(wanted));
  }

  showMore(n = CARDS_AT_ONCE) {
    this.cards.append(...this.groups.slice(this.nShown, this.nShown + n).map((group) => this.card(group)));
    this.nShown = Math.min(this.nShown + n, this.groups.length);
    this.more.hidden = this.nShown >= this.groups.length;
    this.count.textContent = this.countText();
  }

  countText() {
    const { point, run, groups, n, nShown, marked } = this;
    const kind = this.fields.kind.value;
    const ways = { lost: "score worse", gained: "score better", same: "have another answer with the same score" };
    const [all, drawn] = [point.changed[kind], point.shown[kind]];
    const sentences = [
      `${thousands(all)} of ${counted(point.compared, "question")} ${ways[kind]} at ${point.label} than at ${run.baseline} (published).`,
    ];
    if (drawn < all) sentences.push(`${thousands(drawn)} of them, drawn at random, are in this page; the other ${thousands(all - drawn)} are not.`);
    if (kind === "same") sentences[0] = sentences[0].replace(" than at", " as at");
    if (point.unanswered) sentences.push(`${counted(point.unanswered, "question")} could not be put to the model at ${point.label}.`);
    // On paper this line is all that is left of the filters.
    const { type, asked, text } = this.chosen;
    const filters = [type, asked, text && `“${text}”`].filter(Boolean).join(", ");
    if (filters) sentences.push(`${thousands(n)} match the filters: ${filters}.`);
    const part = nShown < groups.length ? `${nShown} of ` : "";
    if (n) sentences.push(`Showing ${part}${counted(groups.length, "image")}.`);
    if (marked !== null && !groups.some((group) => group.some((one) => one.k === marked))) {
      sentences.push(`Question ${marked} is not among them.`);
    }
    return sentences.join(" ");
  }

  sourceLine(setting) {
    const { run, point } = this;
    const published = run.points.find(({ label }) => label === run.baseline);
    const files = [published, point].flatMap(({ label, file, runs }) => [
      `${label} in `,
      element("code", file),
      runs > 1 ? ` (the first of ${runs} runs)` : "",
      label === setting ? "" : ", ",
    ]);
    return ["Answers at ", ...files, ". Questions have the ", element("code", run.id), " of these files."];
  }

  card(group) {
    const card = copyOf("card");
    const { i, g, k } = group[0];
    const name = g === undefined ? `of question ${k}` : g;
    const button = card.querySelector(".enlarge");
    if (i === null) button.remove();
    else {
      button.querySelector("img").src = this.images[i];
      button.setAttribute("aria-label", `Enlarge image ${name}`);
      button.addEventListener("click", () => this.viewer.open(card));
    }
    const notes = group.length > 1 ? [counted(group.length, "question")] : [];
    if (i === null && this.images.length) notes.push("not in this page");
    card.querySelector(".about-image").textContent = [`Image ${name}`, ...notes].join(" · ");
    card.querySelector(".asked").append(...group.map((one) => this.question(one)));
    return card;
  }

  question(one) {
    const item = copyOf("question");
    const { texts, answers, point } = this;
    item.dataset.question = one.k;
    item.classList.toggle("marked", one.k === this.marked);
    item.querySelector(".words").textContent = texts[one.q];
    const details = item.querySelector("details");
    details.querySelector("summary").append(answers.strip(one, point.label));
    details.addEventListener("toggle", () => details.append(answers.whole(one)), { once: true });
    item.querySelector(".expected b").textContent = texts[one.t] || "(not known)";
    const about = new Set([`question ${one.k}`, texts[one.y], texts[one.z]].filter(Boolean));
    item.querySelector(".about span").textContent = `${[...about].join(" · ")} ·`;
    const link = item.querySelector(".link");
    link.href = address.with({ ...this.chosen, q: one.k });
    link.setAttribute("aria-label", `Link to question ${one.k}`);
    link.addEventListener("click", (event) => this.link(event, one.k));
    return item;
  }

  // Put the address of a question into the address bar and, where the browser lets us, into the clipboard.
  async link(event, k) {
    event.preventDefault();
    const link = event.currentTarget;
    address.set({ ...this.chosen, q: k });
    this.marked = k;
    for (const one of this.cards.querySelectorAll(".question")) one.classList.toggle("marked", one.dataset.question === k);
    try {
      await navigator.clipboard.writeText(location.href);
      link.textContent = "Link copied";
    } catch {
      link.textContent = "Link is in the address bar";
    }
  }

  // Go to a question, or to the list. Charts above are drawn first, since they move what is below.
  goTo(q) {
    const target = this.cards.querySelector(`[data-question="${CSS.escape(q ?? "")}"]`) ?? document.getElementById("questions");
    const go = () => {
      target.scrollIntoView({ block: target.matches("section") ? "start" : "center" });
      target.focus({ preventScroll: true });
    };
    const { documentElement } = document;
    if (documentElement.dataset.drawn === "yes") return go();
    const observer = new MutationObserver(() => {
      observer.disconnect();
      go();
    });
    observer.observe(documentElement, { attributes: true, attributeFilter: ["data-drawn"] });
  }
}

// Return the questions in groups of one image: of its picture here, or else of its id.
function byImage(questions) {
  const groups = new Map();
  for (const one of questions) {
    const image = one.i ?? `image ${one.g ?? one.k}`;
    if (groups.has(image)) groups.get(image).push(one);
    else groups.set(image, [one]);
  }
  return [...groups.values()];
}

function fill(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
}

function choose(select, value) {
  if ([...select.options].some((one) => one.value === value)) select.value = value;
}

if (document.getElementById("filters")) new QuestionList(document.getElementById("filters"), read("changed"));
