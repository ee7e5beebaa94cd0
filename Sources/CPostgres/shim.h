// libpq, PostgreSQL's own client library. Nothing but its public header.
#include <libpq-fe.h>
