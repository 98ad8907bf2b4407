"""Stage: meta-train once more, with the settings that were chosen on the validation learners."""

from mooc_maml.common.errors import main_guard
from stages.meta_train import TUNED, from_command_line

if __name__ == "__main__":
    main_guard(lambda: from_command_line(TUNED))
