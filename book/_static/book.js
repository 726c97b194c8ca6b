// Draws the explorers of a page from the data that stands beside them. explorer.js defines `inrexp`.

function dataOf(place) {
  return JSON.parse(document.getElementById(place.dataset.scene).textContent);
}

/** A row of photographs; the chosen one's explorer stands below it. */
async function showRow(place) {
  const pictures = dataOf(place);
  const row = document.createElement("div");
  const below = document.createElement("div");
  row.className = "inrexp-thumbnails";
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", "Choose a picture");
  place.append(row, below);
  const buttons = pictures.map(({ name, scene }) => thumbnail(name, scene.photo));
  const choose = async (index) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
    below.style.minHeight = `${below.offsetHeight}px`; // the page below does not jump
    await inrexp.mount(below, pictures[index].scene, pictures[index].state);
    requestAnimationFrame(() => (below.style.minHeight = ""));
  };
  buttons.forEach((button, i) => button.addEventListener("click", () => choose(i)));
  row.append(...buttons);
  await choose(0);
}

function thumbnail(name, photo) {
  const button = document.createElement("button");
  const picture = document.createElement("img");
  button.type = "button";
  picture.src = photo;
  picture.alt = "";
  picture.className = "dark-light"; // the theme leaves it as it is
  button.append(picture, name);
  return button;
}

function showAll() {
  for (const place of document.querySelectorAll(".inrexp-row")) showRow(place);
  for (const place of document.querySelectorAll(".inrexp-here")) {
    const { scene, state } = dataOf(place);
    inrexp.mount(place, scene, state);
  }
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", showAll);
else showAll();
