"""The cluster below: Ray Serve's replicas and queues, Ray's nodes, processes and objects."""

from monitoring.panels import Board, Query, lines, number, row
from monitoring.promql import quantile, series, total
from monitoring.queries import rates

_OF = 'deployment=~"$deployment"'
_PROCESSING = "ray_serve_deployment_processing_latency_ms"
_CALLS = "ray_serve_deployment_request_counter_total"
_STARTS = "ray_serve_deployment_replica_starts_total"

BOARD = Board(
    name="ray",
    title="sentigraph: Ray",
    description="Are there enough replicas, are they healthy, and do the nodes have room?",
    deployment_of=_STARTS,
    numbers=(
        number(
            "Healthy replicas",
            "Of the chosen deployments.",
            total("ray_serve_deployment_replica_healthy", _OF),
        ),
        number(
            "Replicas not healthy",
            "Ray replaces one that fails its checks. For long: its log, in the Ray dashboard.",
            f"count({series('ray_serve_deployment_replica_healthy', _OF)} == 0) or vector(0)",
            "short",
            (1.0,),
        ),
        number(
            "Replicas wanted",
            "What autoscaling aims at.",
            total("ray_serve_autoscaling_target_replicas", _OF),
        ),
        number("Nodes", "Active in the cluster.", total("ray_cluster_active_nodes")),
        number(
            "CPU",
            "Mean over nodes. Above 90 % for long: replicas wait for cores.",
            f"avg({series('ray_node_cpu_utilization')}) / 100",
            "percentunit",
            (0.75, 0.9),
        ),
        number(
            "Memory",
            "Of the fullest node. At 95 % Ray kills workers.",
            f"max({series('ray_node_mem_used')} / {series('ray_node_mem_total')})",
            "percentunit",
            (0.8, 0.9),
        ),
    ),
    rows=(
        row(
            "Deployments",
            lines(
                "Calls of replicas",
                "Micro-batches, not texts: each call carries many.",
                rates(_CALLS, _OF, by="deployment"),
                unit="reqps",
            ),
            lines(
                "Duration of calls, p95",
                "Inside the replica.",
                Query(quantile(0.95, _PROCESSING, _OF, by="deployment"), "{{deployment}}"),
                unit="ms",
            ),
            lines(
                "Calls in work and waiting",
                "Waiting above 0 for long: replicas are at `max_ongoing_requests`.",
                Query(
                    total("ray_serve_replica_processing_queries", _OF, by="deployment"),
                    "{{deployment}} in work",
                ),
                Query(
                    total("ray_serve_deployment_queued_queries", _OF, by="deployment"),
                    "{{deployment}} waiting",
                ),
            ),
            lines(
                "Replicas wanted",
                "Beside the healthy ones: a gap that stays is a pod that finds no place.",
                Query(
                    total("ray_serve_autoscaling_target_replicas", _OF, by="deployment"),
                    "{{deployment}} wanted",
                ),
                Query(
                    total("ray_serve_deployment_replica_healthy", _OF, by="deployment"),
                    "{{deployment}} healthy",
                ),
            ),
            lines(
                "Replicas started",
                "Each counts itself once, so those alive and lately gone. Crashes are what the "
                "controller counts: alert ReplicaCrashLoop, `sentigraph status`.",
                Query(f"sum by (deployment) ({series(_STARTS, _OF)})", "{{deployment}}"),
            ),
            lines(
                "Event loop delay, p95",
                "Of replicas. Above 50 ms the process is short of CPU, or something blocks.",
                Query(
                    quantile(0.95, "ray_serve_event_loop_scheduling_latency_ms", by="deployment"),
                    "{{deployment}}",
                ),
                unit="ms",
                limits=(50.0,),
            ),
        ),
        row(
            "Proxy and controller",
            lines(
                "Requests by status",
                "As Ray Serve counts them at the replicas behind HAProxy.",
                rates("ray_serve_num_http_requests_total", by="status_code"),
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Controller loop",
                "Duration of one turn; seconds mean that scaling and recovery are late.",
                Query(f"max({series('ray_serve_controller_control_loop_duration_s')})", "one turn"),
                unit="s",
                limits=(5.0,),
            ),
        ),
        row(
            "Nodes",
            lines(
                "CPU",
                "Of each node.",
                Query(f"{series('ray_node_cpu_utilization')} / 100", "{{ip}}"),
                unit="percentunit",
                limits=(0.9,),
                maximum=1.0,
            ),
            lines(
                "Memory by process",
                "Resident, shared parts counted in each. A line that only rises is a leak.",
                Query(
                    total("ray_component_rss_bytes", 'Component!="agent"', by="Component"),
                    "{{Component}}",
                ),
                unit="bytes",
                stacked=True,
            ),
            lines(
                "Object store",
                "Used and free. Filling up: something passes large objects by reference.",
                Query(total("ray_object_store_used_memory"), "used"),
                Query(total("ray_object_store_available_memory"), "free"),
                unit="bytes",
                stacked=True,
            ),
        ),
    ),
)
