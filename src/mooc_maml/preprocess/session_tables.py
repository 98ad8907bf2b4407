"""The one definition of events -> sessions -> steps -> pairs, as plain standard SQL.

Each table is a SELECT over those before it, beginning with `raw_events(learner, course, event,
time_us, session, kind)`: ids as text, microseconds since 1970, event and session null where a
source has none, kind a number from 1 or 0 for none. Nothing here belongs to one engine. Rows that
tie in an ORDER BY are alike in every column that is read afterwards, or differ in kind only, which
is read by its time; so the result is the same whatever order an engine puts them in. Texts are
ordered by their bytes (UTF-8).
"""

from mooc_maml.settings.sessions import SessionParams

# Ids become numbers in the order of their texts, so that all that follows compares, orders and
# holds numbers: half the time and half the memory. A window over all rows is the work of one
# process: here of a row a learner or a row a course, never of one a session or event.
_LEARNER_KEYS = """
SELECT CAST(ROW_NUMBER() OVER (ORDER BY id) AS INTEGER) AS learner_key, id
FROM (SELECT DISTINCT learner AS id FROM raw_events) AS every_id
"""

_COURSE_KEYS = """
SELECT CAST(ROW_NUMBER() OVER (ORDER BY id) AS INTEGER) AS course_key, id
FROM (SELECT DISTINCT course AS id FROM raw_events) AS every_id
"""

_PLATFORM_SESSIONS = """
SELECT learner_key, id,
       CAST(ROW_NUMBER() OVER (PARTITION BY learner_key ORDER BY id) AS BIGINT) AS platform_key
FROM (SELECT DISTINCT learner_keys.learner_key, COALESCE(raw_events.session, '') AS id
      FROM raw_events
      JOIN learner_keys ON learner_keys.id = raw_events.learner) AS every_id
"""

_DISTINCT_EVENTS = """
SELECT DISTINCT learner_keys.learner_key, course_keys.course_key,
       COALESCE(raw_events.event, '') AS event, platform_sessions.platform_key,
       raw_events.time_us, raw_events.kind
FROM raw_events
JOIN learner_keys ON learner_keys.id = raw_events.learner
JOIN course_keys ON course_keys.id = raw_events.course
JOIN platform_sessions ON platform_sessions.learner_key = learner_keys.learner_key
                      AND platform_sessions.id = COALESCE(raw_events.session, '')
"""

# A session begins after a pause, over all courses and files of a learner. Of events that tie, any
# one may be the first after the pause; RANGE counts ties together, so all are in the new session.
_CUT_BY_GAP = """
SELECT learner_key, course_key, time_us, kind,
       CAST(SUM(begins) OVER (PARTITION BY learner_key ORDER BY time_us, course_key
                              RANGE UNBOUNDED PRECEDING) AS BIGINT) AS session_key
FROM (SELECT learner_key, course_key, time_us, kind,
             CASE WHEN time_us - LAG(time_us) OVER (PARTITION BY learner_key
                                                    ORDER BY time_us, course_key)
                       <= {gap_us} THEN 0 ELSE 1 END AS begins
      FROM distinct_events) AS marked
"""

_CUT_BY_PLATFORM = """
SELECT learner_key, course_key, time_us, kind, platform_key AS session_key FROM distinct_events
"""

_LONG_SESSIONS = """
SELECT long_enough.*,
       ROW_NUMBER() OVER (PARTITION BY learner_key ORDER BY start_us, session_key) AS number
FROM (SELECT learner_key, session_key, COUNT(*) AS events, MIN(time_us) AS start_us,
             MAX(time_us) AS end_us {first_times}
      FROM cut_events
      GROUP BY learner_key, session_key
      HAVING COUNT(*) >= {min_events}) AS long_enough
"""

_LEARNERS = """
SELECT CAST(ROW_NUMBER() OVER (ORDER BY learner_key) - 1 AS INTEGER) AS learner, learner_key, id,
       CAST(SUM(sessions) OVER (ORDER BY learner_key ROWS UNBOUNDED PRECEDING) AS BIGINT) - sessions
           AS sessions_before
FROM (SELECT learner_keys.learner_key, learner_keys.id, COUNT(*) AS sessions
      FROM long_sessions
      JOIN learner_keys ON learner_keys.learner_key = long_sessions.learner_key
      GROUP BY learner_keys.learner_key, learner_keys.id) AS kept
"""

_SESSIONS = """
SELECT learners.learner, learners.learner_key, long_sessions.session_key,
       CAST(learners.sessions_before + long_sessions.number - 1 AS INTEGER) AS session,
       long_sessions.events, {duration} AS duration {first_times}
FROM long_sessions
JOIN learners ON learners.learner_key = long_sessions.learner_key
"""

# Courses count from 1: 0 is padding and nothing else.
_COURSE_IDS = """
SELECT CAST(ROW_NUMBER() OVER (ORDER BY course_key) AS INTEGER) AS course, course_key, id
FROM (SELECT DISTINCT course_keys.course_key, course_keys.id
      FROM cut_events
      JOIN sessions ON sessions.learner_key = cut_events.learner_key
                   AND sessions.session_key = cut_events.session_key
      JOIN course_keys ON course_keys.course_key = cut_events.course_key) AS kept
"""

_KEPT_EVENTS = """
SELECT sessions.learner, sessions.session, course_ids.course, cut_events.time_us
FROM cut_events
JOIN sessions ON sessions.learner_key = cut_events.learner_key
             AND sessions.session_key = cut_events.session_key
JOIN course_ids ON course_ids.course_key = cut_events.course_key
"""

# `events` counts those of the session up to and including this one.
_SEQUENCES = """
SELECT learner, session, course, time_us, events
FROM (SELECT learner, session, course, time_us,
             ROW_NUMBER() OVER (PARTITION BY session ORDER BY time_us, course) AS events,
             LAG(course) OVER (PARTITION BY session ORDER BY time_us, course) AS previous
      FROM kept_events) AS numbered
{where}
"""
_NO_REPEATS = "WHERE previous IS NULL OR previous <> course"

# Times never fall within a session, so a step is strictly later than its whole prefix when it is
# strictly later than the step before it; LAG gives null, so no pair, to a session's first step.
# What a step tells of its session is what was so when its course was opened, and nothing later.
_STEPS = """
SELECT sequences.learner, sequences.session,
       CAST(ROW_NUMBER() OVER (PARTITION BY sequences.session ORDER BY sequences.events) - 1
            AS INTEGER) AS position,
       course, time_us AS time,
       COALESCE(LAG(time_us) OVER (PARTITION BY sequences.session ORDER BY sequences.events)
                    < time_us, FALSE) AS is_pair,
       sequences.events, {kinds} AS kinds
FROM sequences
JOIN sessions ON sessions.session = sequences.session
"""

# What is written: file name -> ordered rows.
OUTPUTS = {
    "courses": """
SELECT course_ids.course, course_ids.id, COUNT(*) AS steps
FROM course_ids JOIN steps ON steps.course = course_ids.course
GROUP BY course_ids.course, course_ids.id
ORDER BY course
""",
    "learners": "SELECT learner, id FROM learners ORDER BY learner",
    "sessions": "SELECT events, duration FROM sessions ORDER BY session",
    "steps": """
SELECT learner, session, position, course, time, is_pair, events, kinds
FROM steps ORDER BY session, position
""",
}

COUNTS = {
    "rows_after_duplicates": "SELECT COUNT(*) FROM distinct_events",
    "sessions": "SELECT COUNT(*) FROM sessions",
    "events_in_sessions": "SELECT COUNT(*) FROM kept_events",
    "learners": "SELECT COUNT(*) FROM learners",
    "items": "SELECT COUNT(*) FROM course_ids",
    "steps": "SELECT COUNT(*) FROM steps",
    "pairs_all": "SELECT COUNT(*) FROM steps WHERE position > 0",
    "pairs": "SELECT COUNT(*) FROM steps WHERE is_pair",
    "learners_with_pairs": "SELECT COUNT(DISTINCT learner) FROM steps WHERE is_pair",
}

PREFIX_LENGTHS = """
SELECT position AS length, COUNT(*) AS pairs FROM steps WHERE is_pair
GROUP BY position ORDER BY position
"""


def session_tables(settings: SessionParams, kinds: int, has_clock: bool) -> dict[str, str]:
    """Name -> SELECT of every table between raw_events and OUTPUTS, in the order of making.

    Args:
        settings: how sessions are cut.
        kinds: kinds of event are numbered from 1 to this.
        has_clock: whether times are moments; if they only give the order, a session has duration 0.
    """
    gap_us = round(settings.gap_seconds * 1_000_000)
    by_gap = settings.boundary == "gap"
    drop_repeats = settings.drop_consecutive_repeats
    numbers = range(1, kinds + 1)
    first_time = ", MIN(CASE WHEN kind = {0} THEN time_us END) AS kind_{0}"
    is_there = "CASE WHEN sessions.kind_{0} <= time_us THEN 1 ELSE 0 END"
    return {
        "learner_keys": _LEARNER_KEYS,
        "course_keys": _COURSE_KEYS,
        "platform_sessions": _PLATFORM_SESSIONS,
        "distinct_events": _DISTINCT_EVENTS,
        "cut_events": _CUT_BY_GAP.format(gap_us=gap_us) if by_gap else _CUT_BY_PLATFORM,
        "long_sessions": _LONG_SESSIONS.format(
            min_events=settings.min_events,
            first_times="".join(first_time.format(i) for i in numbers),
        ),
        "learners": _LEARNERS,
        "sessions": _SESSIONS.format(
            duration="long_sessions.end_us - long_sessions.start_us" if has_clock else "0",
            first_times="".join(f", long_sessions.kind_{i}" for i in numbers),
        ),
        "course_ids": _COURSE_IDS,
        "kept_events": _KEPT_EVENTS,
        "sequences": _SEQUENCES.format(where=_NO_REPEATS if drop_repeats else ""),
        "steps": _STEPS.format(kinds=" + ".join(is_there.format(i) for i in numbers) or "0"),
    }
