"""The program that Ray Serve starts as HAProxy, so that the port stays open.

``sentigraph-haproxy`` rewrites the configuration that Ray rendered (``overrides``), then becomes
HAProxy under the same pid. Beside it a small process (``watchdog``) starts HAProxy again at once
when it dies or is stopped, for Ray takes seconds to notice. Imports nothing but the standard
library, its own package and the key: it starts anew at every change of the routes.
"""
