"""The mails that users get. Links carry tokens behind #, which browsers send to nobody.

No paragraph before a link ends in `password:`, after which the log, where mails go in development,
leaves out what stands there.
"""

from app.core.auth.local.settings import LocalSettings
from app.core.mail import Mail


def verify_address(settings: LocalSettings, email: str, token: str) -> Mail:
    """To somebody who has registered."""
    return _mail(
        settings,
        email,
        "Verify your e-mail address",
        "please verify that this e-mail address is yours:",
        _link(settings, "verify-email", token),
        "The link works for 24 hours and once. If you have not registered, ignore this mail.",
    )


def invitation(settings: LocalSettings, email: str, token: str, tenant: str) -> Mail:
    """To somebody whom a tenant invites."""
    return _mail(
        settings,
        email,
        f"Join {tenant}",
        f"you are invited to join {tenant}:",
        _link(settings, "accept-invitation", token),
        "The link works for a week and once. If you do not know them, ignore this mail.",
    )


def registered_already(settings: LocalSettings, email: str, token: str) -> Mail:
    """To a user whose address somebody has registered once more."""
    return _mail(
        settings,
        email,
        "You have an account already",
        "somebody, probably you, has registered with this e-mail address, which has an account"
        " already. If you have forgotten your password, choose a new one:",
        _link(settings, "reset-password", token),
        "The link works for an hour and once. Otherwise ignore this mail: nothing has changed.",
    )


def reset_password(settings: LocalSettings, email: str, token: str) -> Mail:
    """To a user who has forgotten the password."""
    return _mail(
        settings,
        email,
        "Choose a new password",
        "somebody, probably you, wants to choose a new password here:",
        _link(settings, "reset-password", token),
        "The link works for an hour and once. Otherwise ignore this mail: nothing has changed.",
    )


def no_account(settings: LocalSettings, email: str) -> Mail:
    """To an address for which somebody wants a new password, and which has no account."""
    return _mail(
        settings,
        email,
        "You have no account",
        "somebody, probably you, wants to choose a new password, but there is no account with this"
        " e-mail address. Perhaps you have registered with another one.",
    )


def password_changed(settings: LocalSettings, email: str) -> Mail:
    """To a user whose password is a new one."""
    return _mail(
        settings,
        email,
        "Your password was changed",
        "your password was changed, and you are signed out everywhere else. If that was not you,"
        " choose a new one at once:",
        f"{settings.auth_pages_url.rstrip('/')}/forgot-password",
    )


def provider_linked(settings: LocalSettings, email: str, provider: str) -> Mail:
    """To a user whose account another provider opens from now on."""
    return _mail(
        settings,
        email,
        f"Sign-in through {provider}",
        f"somebody has signed in through {provider}, where this e-mail address is theirs, and can"
        " sign in to your account by that from now on. If that was not you, tell us at once.",
    )


def confirm_address(settings: LocalSettings, email: str, token: str) -> Mail:
    """To an address that is to be a user's new one."""
    return _mail(
        settings,
        email,
        "Confirm your new e-mail address",
        "please confirm that this is to be the e-mail address of your account:",
        _link(settings, "confirm-email", token),
        "The link works for an hour, once, and where you are signed in. If you have not asked for"
        " it, ignore this mail.",
    )


def address_taken(settings: LocalSettings, email: str) -> Mail:
    """To an address that a user wants to have, and that has an account already."""
    return _mail(
        settings,
        email,
        "This address has an account already",
        "somebody, probably you, wants to use this e-mail address for an account, but it has one"
        " already: nothing has changed.",
    )


def address_is_to_change(settings: LocalSettings, email: str) -> Mail:
    """To a user's present address when another one is wanted."""
    return _mail(
        settings,
        email,
        "Your e-mail address is to be changed",
        "somebody who knows your password wants to give your account another e-mail address. If"
        " that was not you, choose a new password at once; then it stays as it is:",
        f"{settings.auth_pages_url.rstrip('/')}/forgot-password",
    )


def address_changed(settings: LocalSettings, email: str) -> Mail:
    """To the address that a user had before."""
    return _mail(
        settings,
        email,
        "Your e-mail address was changed",
        "your account has another e-mail address now, and you are signed out everywhere. If that"
        " was not you, tell us at once.",
    )


def _link(settings: LocalSettings, page: str, token: str) -> str:
    return f"{settings.auth_pages_url.rstrip('/')}/{page}#{token}"


def _mail(settings: LocalSettings, email: str, subject: str, *paragraphs: str) -> Mail:
    name = settings.project_name
    text = "\n\n".join(("Hello,", *paragraphs, name))
    return Mail(to=email, subject=f"{subject} - {name}", text=f"{text}\n")
