"""Pages in Airflow's UI. Each is a FastAPI app that lets nobody in without Airflow's login."""
