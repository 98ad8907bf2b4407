// The page: keeps what was picked, asks the service, and leaves drawing to the other modules.
import { ask, onKeyNeeded, useKey } from "./asking.js";
import { drawList, drawOwn } from "./drawing.js";
import { pickCourses } from "./picking.js";

const at = (id) => document.getElementById(id);
const state = { own: [], about: null, model: null, step: null, turn: 0 };
const answers = new Map(); // question -> promise of its answer
const KEPT = 200; // answers

function tell(words) {
  at("news").textContent = words;
}

function showProblem(error) {
  at("problem").textContent = error ? error.message : "";
  at("problem").hidden = !error;
}

async function start() {
  try {
    state.about = await ask("model");
  } catch (error) {
    showProblem(error);
    return;
  }
  showProblem(null);
  const { about } = state;
  at("synthetic").hidden = !about.data.synthetic;
  at("bundle").textContent = about.bundle;
  at("model").replaceChildren(...about.models.map((model) => new Option(model.label, model.name)));
  at("model").value = about.default_model;
  choose(about.default_model);
}

// A model was chosen: what can be moved depends on whether it takes steps.
function choose(name) {
  state.model = state.about.models.find((model) => model.name === name);
  const { kind, inner_steps: own } = state.model;
  const steps = own !== null; // else it is told or it is not
  const most = steps ? Math.max(own, 5) : Number(kind !== "plain");
  state.step = own ?? most;
  const slider = at("slider");
  slider.max = most;
  slider.value = state.step;
  at("steps").hidden = most === 0;
  at("slider-label").textContent =
    steps ? "Steps of learning from this learner" : "Told of this learner’s courses";
  const marks = steps ? [...Array(most + 1).keys()] : ["no", "yes"];
  at("ticks").replaceChildren(
    ...marks.map((mark) => Object.assign(document.createElement("span"), { textContent: mark })),
  );
  at("worth").textContent = state.model.worth;
  refresh();
}

function question(step) {
  const asked = {
    learners: [{ courses: state.own.map((course) => course.id) }],
    model: state.model.name,
    exclude: at("seen").checked ? "seen" : null,
    why: true,
  };
  return state.model.inner_steps === null ? asked : { ...asked, inner_steps: step };
}

function answer(step) {
  const asked = JSON.stringify(question(step));
  if (!answers.has(asked)) {
    if (answers.size >= KEPT) answers.delete(answers.keys().next().value);
    const promise = ask("recommend", asked);
    promise.catch(() => answers.delete(asked));
    answers.set(asked, promise);
  }
  return answers.get(asked);
}

const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;

function stepInWords(found) {
  const pairs = plural(found.pairs, "pair", "pairs");
  if (state.model.inner_steps === null) {
    return state.step
      ? `The model is told of ${pairs} of this learner.`
      : "Before: the model sees only the courses of this session, in order.";
  }
  if (found.pairs === 0) return "Nothing to learn from yet: it takes two courses to make a pair.";
  return state.step
    ? `After ${plural(state.step, "step", "steps")} of learning from ${pairs}.`
    : "Before any learning from this learner: what the model offers everyone who opened these.";
}

// Ask for what is to be seen and draw it, unless something newer was asked meanwhile.
async function refresh() {
  const turn = ++state.turn;
  drawOwn(at("own"), state.own, remove);
  at("clear").disabled = state.own.length === 0;
  at("own-hint").textContent = hintOfOwn();
  let reply;
  try {
    reply = await answer(state.step);
  } catch (error) {
    if (turn === state.turn) showProblem(error);
    return;
  }
  if (turn !== state.turn) return;
  showProblem(null);
  const [found] = reply.recommendations;
  const before = state.model.inner_steps === null && state.step === 0;
  const rows = before ? found.before : found.after;
  at("slider-says").textContent = stepInWords(found);
  at("slider").setAttribute("aria-valuetext", at("slider-says").textContent);
  drawList(at("list"), rows, !before && found.kind !== "plain");
  at("list-hint").textContent = hintOfList(rows, found);
  if (state.model.inner_steps !== null && state.own.length) prefetch();
}

function prefetch() {
  for (let step = 0; step <= Number(at("slider").max); step += 1) answer(step).catch(() => {});
}

function hintOfOwn() {
  const missing = state.about.pairs + 1 - state.own.length;
  if (!state.own.length) return "Nothing picked yet. The list shows what is offered to anyone.";
  if (missing <= 0) return "";
  return `${plural(missing, "more course makes", "more courses make")} the model learn from as many
    as in its test.`;
}

function hintOfList(rows, found) {
  if (!rows.length) return "No course is left to offer.";
  if (state.own.length < 2 || found.kind === "plain") return "";
  return "Marks show how many places a course moved from where it stood before the model learned of "
    + "this learner’s courses.";
}

function add(course) {
  state.own.push(course);
  tell(`Added ${course.title ?? course.id}; ${plural(state.own.length, "course", "courses")}.`);
  refresh();
}

function remove(place) {
  const [course] = state.own.splice(place, 1);
  tell(`Removed ${course.title ?? course.id}.`);
  refresh();
  const buttons = at("own").querySelectorAll("button");
  (buttons[Math.min(place, buttons.length - 1)] ?? at("search")).focus();
}

// Courses a little apart in the catalogue, so that an example is not five times the same.
async function example() {
  try {
    const { courses } = await ask("courses?limit=100");
    const count = state.about.pairs + 1;
    const apart = Math.max(1, Math.floor(courses.length / count));
    state.own = courses.filter((_, place) => place % apart === 0).slice(0, count);
    tell(`An example of ${state.own.length} courses.`);
    await refresh();
  } catch (error) {
    showProblem(error);
  }
}

pickCourses(at("search"), at("found"), (text) => ask(`courses?limit=8&search=${text}`), add);
onKeyNeeded(() => {
  at("key-form").hidden = false;
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value);
  at("key-form").hidden = true;
  start();
});
at("model").addEventListener("change", (event) => choose(event.target.value));
at("seen").addEventListener("change", refresh);
at("slider").addEventListener("input", (event) => {
  state.step = Number(event.target.value);
  refresh();
});
at("example").addEventListener("click", example);
at("clear").addEventListener("click", () => {
  state.own = [];
  tell("All courses removed.");
  refresh();
  at("search").focus();
});
start();
