"use strict";
// What was chosen on the page, in its address: #margin=2&setting=k=4&kind=lost. A script changes its own
// keys and keeps those of the others. An address without "=" is a place on the page, and changes nothing.

const address = {
  chosen: new URLSearchParams(),

  // Return the value of a key; null where nothing was chosen.
  get(key) {
    return address.chosen.get(key);
  },

  // Return the address with other values of some keys; null or "" leaves a key out.
  with(values) {
    const changed = new URLSearchParams(address.chosen);
    for (const [key, value] of Object.entries(values)) {
      if (value === null || value === "") changed.delete(key);
      else changed.set(key, value);
    }
    return `#${changed.toString().replaceAll("%3D", "=").replaceAll("%2F", "/")}`;
  },

  // Show other values of some keys in the address, without a new entry in the history.
  set(values) {
    history.replaceState(null, "", address.with(values));
    address.read();
  },

  read() {
    if (location.hash.includes("=")) address.chosen = new URLSearchParams(location.hash.slice(1));
  },
};

address.read();
// Scripts that show a changed address listen to the same event; this one hears it first.
window.addEventListener("hashchange", address.read);
