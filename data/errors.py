"""The error that tells a user what is wrong with what they gave."""


class InputError(ValueError):
    """Something the user gave cannot be used: a file, a folder, a label, a setting.

    The message is one sentence that names the case or file, what was found, what is expected and
    the likely remedy. The command line prints it without a traceback and exits with 1.
    """
