"""The plain design: a Flask route that writes a job to Redis and has Celery publish its task.

Runs by itself, in an environment that has Flask, gunicorn, Celery and redis: it imports nothing of cvpipe. STORE and
BROKER are the addresses of Redis and RabbitMQ; THREADS is how many requests a process answers at once; CONFIRM: whether
RabbitMQ must have confirmed a task before the answer, without which a crash loses it.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import redis
from celery import Celery
from flask import Flask, jsonify, request

app = Flask(__name__)
tasks = Celery("plain", broker=os.environ["BROKER"])
tasks.conf.task_default_queue = "plain"
tasks.conf.broker_pool_limit = int(os.environ["THREADS"])
tasks.conf.broker_transport_options = {"confirm_publish": os.environ["CONFIRM"] == "yes"}
store = redis.Redis.from_url(os.environ["STORE"])


@tasks.task
def work(job: str) -> None:
    """Nobody listens: only accepting is measured."""


@app.post("/jobs")
def submit() -> tuple[Any, int]:
    """The job is in Redis, and its task with RabbitMQ, before the answer."""
    body = request.get_json()
    if not isinstance(body.get("path"), str) or not isinstance(body.get("pipeline"), str):
        return jsonify(error="wanted path and pipeline"), 422
    job = uuid.uuid4().hex
    store.hset(f"job:{job}", mapping={"doc": json.dumps(body), "state": "queued"})
    work.delay(job)
    return jsonify(id=job, state="queued"), 202
