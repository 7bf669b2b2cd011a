// The order of search results: an option, argument or key comes first if its name is what was typed.
// Dashes, underscores and spaces are the same, and the dashes before an option may be left out.
const plainName = (text) => text.toLowerCase().trim().replace(/[_ ]/g, "-").replace(/^-+/, "");
const typed = plainName(new URLSearchParams(window.location.search).get("q") || "");

var Scorer = {
  score: ([, title, , , score, , kind]) => {
    const names = title.split(/[ .]/).map(plainName);
    return kind === "object" && names.includes(typed) ? score + 100 : score;
  },
  // The values that Sphinx itself has.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
