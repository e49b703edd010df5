#pragma once

#include "net/http_response.h"

namespace ternion {

// GET /: the status and chat page (net/page), one document that loads nothing. Its content security policy allows its own
// style and script, by their hashes, and requests to its own server.
HttpResponse StatusPage();

}  // namespace ternion
