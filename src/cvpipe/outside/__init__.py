"""The way out: the only door through which jobs make cvpipe call servers by HTTP.

Whoever posts a job chooses the addresses. So each is parsed strictly, its name is looked up once, every address it
leads to is compared with a table, and the connection is made to the very address that was compared.
"""

from cvpipe.outside.answers import Answer
from cvpipe.outside.caller import Caller, Outside
from cvpipe.outside.cassettes import with_cassette
from cvpipe.outside.rules import Rules
from cvpipe.outside.secrets import Secrets
from cvpipe.outside.targets import Target

__all__ = ["Answer", "Caller", "Outside", "Rules", "Secrets", "Target", "with_cassette"]
