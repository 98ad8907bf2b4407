# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Adapt to one learner, step by step
#
# What does it mean that a model *adapts*? Here a trained model meets a learner whom it has never
# seen, takes a few gradient steps on five course steps of this learner, and gives another list.
# Every number below is computed as you read, from what `make repro` left.
#
# First find the project's folder, wherever this notebook was opened.

# %%
# %matplotlib inline
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from mooc_maml.common.results import read_result
from mooc_maml.evaluation.schema import TestResult
from mooc_maml.recommend import Recommender

here = Path.cwd()
root = next(folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file())

# %% [markdown]
# ## What came out of the test
#
# The file of the test holds every model's figures on the same queries of learners who took no part
# in training. HR@1: how often the right course stands first. In brackets: the 95 % interval over
# learners. Two rows belong together: *zero-shot* is the meta-trained model as it is, *few-shot* the
# same model after its steps on a learner.

# %%
(path,) = (root / "results").glob("maml_K*_Q*.json")
tested = read_result(path, TestResult)


def in_words(model: str, metric: str) -> str:
    """12.3 % (10.0 to 14.5)."""
    mean = f"{100 * tested.models[model][metric]:.1f} %"
    if metric not in tested.intervals_95[model]:
        return mean
    low, high = (100 * end for end in tested.intervals_95[model][metric])
    return f"{mean} ({low:.1f} to {high:.1f})"


ours = ["gru", "zero_shot", "few_shot", "tuned_zero_shot", "tuned_few_shot"]
shown = [model for model in ours if model in tested.models]
metrics = ["HR@1", "HR@10", "NDCG@10"]
table = pd.DataFrame({metric: [in_words(model, metric) for model in shown] for metric in metrics})
table.index = shown
print(f"{tested.data_source} data: {tested.learners:,} test learners, {tested.queries:,} queries")
print(table.to_string())

# %% [markdown]
# ## Load a model
#
# The bundle is a folder with everything that is needed to recommend: weights, catalogue, rules and
# the models' figures. We take MAML with the study's settings, `few_shot`. Its figures in the bundle
# have to be those of the test.

# %%
recommender = Recommender.load(root / "models" / "bundle")
bundle = recommender.bundle
model = recommender.info("few_shot")
steps = model.adaptation.num_inner_steps
for metric, estimate in model.metrics.items():
    assert estimate.mean == tested.models[model.name][metric], "bundle and test are of two runs"
print(f"{model.label}: {steps} gradient steps, {len(bundle.courses):,} courses to rank")

# %% [markdown]
# ## A learner who is made up
#
# She goes through three courses in turn: A B C A B C. In a new session she has opened A and B. What
# comes next? Each course of a session but its first makes a pair: what she opened before, and what
# came next. The model adapts on the latest K of these pairs.

# %%
number = len(bundle.courses)
a, b, c = (bundle.courses[number * quarter // 4] for quarter in (1, 2, 3))
learner = [[a, b, c, a, b, c], [a, b]]

(answer,) = recommender.recommend([learner], model=model.name)
print(f"A = {a}, B = {b}, C = {c}")
print(f"adapted on {answer.pairs} pairs by {answer.inner_steps} steps")


def name_of(course) -> str:
    """The id, with A, B or C for hers, and the title where there is one."""
    hers = {a: "A: ", b: "B: ", c: "C: "}.get(course.id, "")
    return hers + (course.title or course.id)[:32]


before = [name_of(own.course) for own in answer.before]
after = [name_of(own.course) for own in answer.after]
lists = pd.DataFrame({"before": before, "after": after}, index=range(1, len(after) + 1))
print(lists.to_string())

# %% [markdown]
# If the steps did nothing, both lists would be the same. Are they?

# %%
moved = sum(own.rank != own.rank_before for own in answer.after)
print(f"{moved} of the {len(after)} courses have changed their place" if moved else "no change")

# %% [markdown]
# ## What each step changes
#
# The same model again, stopped after 0, 1, 2, ... steps; it is asked for the places of all courses,
# so that none is lost on the way. Each line is a course: hers in colour, and in grey those of the
# list after adaptation.

# %%
listed = [own.course.id for own in answer.after]
places = {}
for count in range(steps + 1):
    (partly,) = recommender.recommend([learner], model=model.name, inner_steps=count, top=number)
    rank = {own.course.id: own.rank for own in partly.after}
    places[count] = {course: rank[course] for course in dict.fromkeys([*listed, a, b, c])}
way = pd.DataFrame(places)
assert list(way[0][listed]) == [own.rank_before for own in answer.after], "0 steps are zero-shot"
assert list(way[steps][listed]) == list(range(1, len(listed) + 1)), "all steps give the list above"

# %% alt="The place in the ranking of her three courses and of the listed ones, after each step"
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
for course in listed:
    axes.plot(way.columns, way.loc[course], marker=".", color="#B0B0B0", linewidth=1)
looks = {"A": (a, "#D55E00", "o"), "B": (b, "#0072B2", "s"), "C": (c, "#009E73", "^")}
for letter, (course, colour, marker) in looks.items():
    row = way.loc[course]
    axes.plot(row.index, row, marker=marker, color=colour, linewidth=2.5)
    axes.annotate(letter, (steps, row[steps]), (10, 0), textcoords="offset points", va="center")
ticks = [place for place in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if place <= number]
axes.set(yscale="log", xticks=list(way), xlabel="gradient steps on her pairs", ylabel="place")
axes.set_yticks(ticks, labels=map(str, ticks))
axes.minorticks_off()
axes.set_ylim(number, 0.9)
axes.set_title(f"{model.label}: places of her courses, and of the ten that are listed in the end")
plt.show()

# %% [markdown]
# ## What other models make of her
#
# Her habit says C. Where C stands among all courses, by each model that adapts to her, before it
# adapts and after. The fine-tuned GRU takes gradient steps too, without meta-learning.

# %%
places_of_c = {}
for own in bundle.models:
    if own.kind == "adapted":
        (told,) = recommender.recommend([learner], model=own.name, top=number)
        of_c = next(ranked for ranked in told.after if ranked.course.id == c)
        places_of_c[own.label] = {"before": of_c.rank_before, "after": of_c.rank}
print(f"place of C among {number:,} courses")
print(pd.DataFrame(places_of_c).T.to_string())

# %% [markdown]
# ## What this does not show
#
# One made-up learner proves nothing: she was chosen so that there is something to see. Whether
# adaptation is worth it on the whole is what the table at the top tells, with its intervals, and
# the report (`results/report/index.html`) with its controls.
#
# Change `learner`, and run the cells again: other courses, one long session, several short ones.
