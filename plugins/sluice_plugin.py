"""What Airflow loads of Sluice by itself: listeners and pages; operators come by import, from DAG files."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from sluice_airflow.listeners import run_note


async def quality_page(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request to the page of the quality gates.

    Every process of Airflow loads this module, and only the API server needs what the page needs.
    """
    from sluice_airflow.pages.quality import app

    await app(scope, receive, send)


class SluicePlugin(AirflowPlugin):
    """Sluice in Airflow."""

    name = "sluice"
    listeners: ClassVar = [run_note]
    fastapi_apps: ClassVar = [
        {"app": quality_page, "url_prefix": "/sluice/quality", "name": "Sluice quality gates"}
    ]
    external_views: ClassVar = [
        {
            "name": "Quality gates",
            "href": "sluice/quality/",
            "destination": "nav",
            "category": "browse",
            "url_route": "sluice_quality",
        }
    ]
