"use strict";
// Text from runs is only ever inserted as text, never as HTML: that holds for all scripts of the page.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
