"""The other side of `null_jobs`: the same work on bare JetStream and on other task queues.

Each module runs as a program, `worker URL` or `producer URL JOBS`. A producer connects, says
`ready`, publishes when a line comes in, and says `done`. Those of taskiq and FastStream run in an
environment of their own and import nothing of ours.
"""
