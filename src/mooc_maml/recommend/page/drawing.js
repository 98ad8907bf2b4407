// Draws lists. Text is only ever set as text: a title is never read as HTML.
const SHOWN = 4; // reasons of a course
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...inside);
  return element;
}

const nameOf = (course) => course.title ?? course.id;

function named(course) {
  return course.title ? [course.title, " ", make("span", "id", course.id)] : [course.id];
}

// The learner's courses, each with a button that takes it away.
export function drawOwn(list, own, remove) {
  list.replaceChildren(
    ...own.map((course, place) => {
      const button = make("button", "", "×");
      button.type = "button";
      button.setAttribute("aria-label", `Remove ${nameOf(course)}`);
      button.addEventListener("click", () => remove(place));
      return make("li", "", make("span", "name", ...named(course)), button);
    }),
  );
}

// The recommended courses, best first; those that were there before glide to their new place.
export function drawList(list, rows, moves) {
  const opened = new Set(
    [...list.querySelectorAll("details[open]")].map((own) => own.closest("li").dataset.id),
  );
  const tops = new Map([...list.children].map((item) => [item.dataset.id, item.offsetTop]));
  list.replaceChildren(...rows.map((row) => drawRow(row, moves, opened.has(row.course.id))));
  if (calm.matches || !tops.size) return;
  for (const item of list.children) {
    const from = tops.get(item.dataset.id);
    const way = from === undefined ? null : from - item.offsetTop;
    if (way === 0) continue;
    const begin = way === null ? { opacity: 0 } : { transform: `translateY(${way}px)` };
    item.animate([begin, {}], { duration: 350, easing: "cubic-bezier(.2,.7,.2,1)" });
  }
}

function drawRow(row, moves, open) {
  const item = make(
    "li",
    "",
    make("span", "rank", String(row.rank)),
    make("span", "title", ...named(row.course)),
    moves ? drawMove(row) : "",
  );
  item.dataset.id = row.course.id;
  const why = moves ? drawWhy(row) : null;
  if (why) {
    why.open = open;
    item.append(why);
  }
  return item;
}

function drawMove(row) {
  const by = row.rank_before - row.rank;
  if (by === 0) return withWords("move", "=", "stays where it stood");
  const words = `${by > 0 ? "up" : "down"} from place ${row.rank_before}`;
  return withWords(by > 0 ? "move up" : "move down", `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`, words);
}

// A mark for the eye, and words for who does not see it.
function withWords(className, mark, words) {
  const shown = make("span", "", mark);
  shown.setAttribute("aria-hidden", "true");
  const element = make("span", className, shown, make("span", "unseen", words));
  element.title = words;
  return element;
}

// Which of the learner's courses hold this one where it is: where it would stand without each.
function drawWhy(row) {
  if (!row.why?.length) return null;
  const moving = row.why.filter((reason) => reason.rank !== row.rank);
  const details = make("details", "", make("summary", "", summary(row, moving)));
  const lines = moving.slice(0, SHOWN).map((reason) => {
    const place = reason.rank === null ? "far down or not at all" : `at place ${reason.rank}`;
    return make("li", "", "Without ", make("strong", "", nameOf(reason.without)), ` it would stand ${place}.`);
  });
  const rest = row.why.length - lines.length;
  if (rest && moving.length <= SHOWN) {
    lines.push(make("li", "", `Without ${lines.length ? "any other" : "any one"} of them it stays at ${row.rank}.`));
  }
  details.append(make("ul", "", ...lines));
  return details;
}

function summary(row, moving) {
  const most = moving.find((reason) => reason.rank === null || reason.rank > row.rank);
  if (most?.without.id === row.course.id) return "Owes most to having been opened before";
  if (most) return `Owes most to ${nameOf(most.without)}`;
  return moving.length ? "Held back by what was opened" : "Owes its place to no single course";
}
