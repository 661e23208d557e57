"""Events that flows send to Prefect, where automations can listen for them."""

from collections.abc import Mapping

from prefect.events import emit_event


def emit(name: str, model_or_dataset: str, payload: Mapping[str, object]) -> None:
    """Send the event ``pilotline.<name>`` about a model or a dataset.

    Args:
        name: such as ``version.registered``.
        model_or_dataset: the resource it is about.
        payload: JSON facts; never a secret.
    """
    emit_event(
        event=f"pilotline.{name}",
        resource={
            "prefect.resource.id": f"pilotline.{model_or_dataset}",
            "prefect.resource.name": model_or_dataset,
        },
        payload=dict(payload),
    )
