// A text field that offers courses while one types (the combobox of the ARIA practices).
const PAUSE = 80; // milliseconds without a key before it asks

export function pickCourses(input, list, find, picked) {
  let found = [];
  let active = -1;
  let turn = 0;
  let timer;

  function show(courses) {
    found = courses;
    list.replaceChildren(...courses.map(option));
    activate(courses.length ? 0 : -1);
    list.hidden = courses.length === 0;
    input.setAttribute("aria-expanded", String(courses.length > 0));
  }

  function option(course, place) {
    const item = document.createElement("li");
    item.id = `found-${place}`;
    item.setAttribute("role", "option");
    item.append(course.title ?? course.id);
    if (course.title) {
      const id = document.createElement("span");
      id.className = "id";
      id.textContent = ` ${course.id}`;
      item.append(id);
    }
    item.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      take(place);
    });
    return item;
  }

  function activate(place) {
    active = place;
    [...list.children].forEach((item, own) => item.setAttribute("aria-selected", own === place));
    if (place < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `found-${place}`);
      list.children[place].scrollIntoView({ block: "nearest" });
    }
  }

  function close() {
    turn += 1;
    clearTimeout(timer);
    show([]);
  }

  function take(place) {
    const course = found[place];
    input.value = "";
    close();
    picked(course);
  }

  async function search() {
    const own = ++turn;
    const text = input.value.trim();
    if (!text) return show([]);
    try {
      const { courses } = await find(encodeURIComponent(text.slice(0, 200)));
      if (own === turn) show(courses);
    } catch {
      if (own === turn) show([]); // the list beside says what is wrong
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const last = found.length - 1;
    if (event.key === "ArrowDown" && last >= 0) activate(active >= last ? 0 : active + 1);
    else if (event.key === "ArrowUp" && last >= 0) activate(active <= 0 ? last : active - 1);
    else if (event.key === "Enter" && active >= 0) take(active);
    else if (event.key === "Escape") {
      input.value = "";
      close();
    } else return;
    event.preventDefault();
  });
}
