// libcurl for Swift.
//
// Swift cannot call variadic C functions, and `curl_easy_setopt`, `curl_easy_getinfo`,
// `curl_multi_setopt` are variadic. Each shim is one such call with one type of argument, and takes
// no decision. Everything else in <curl/curl.h> is called as it is.
//
// Ownership: no shim allocates or frees. What libcurl keeps after the call is said at each one.

#ifndef C_HOLDFAST_CURL_H
#define C_HOLDFAST_CURL_H

#include <curl/curl.h>

// Body bytes that libcurl wants to send: fills `buffer`, returns how many bytes; 0 ends the body.
typedef size_t (*c_holdfast_curl_read)(char *buffer, size_t size, size_t count, void *context);

// Bytes that libcurl received; returns size * count, anything else aborts the transfer. `bytes` is
// libcurl's own and valid during the call only.
typedef size_t (*c_holdfast_curl_write)(char *bytes, size_t size, size_t count, void *context);

// Called when the connection is ready and nothing of the request has been sent on it.
typedef int (*c_holdfast_curl_prerequest)(void *context, char *peer_address, char *local_address,
                                          int peer_port, int local_port);

CURLcode c_holdfast_curl_set_long(CURL *easy, CURLoption option, long value);
CURLcode c_holdfast_curl_set_offset(CURL *easy, CURLoption option, curl_off_t value);

// libcurl copies the string. Not for CURLOPT_POSTFIELDS, the one option that does not copy.
CURLcode c_holdfast_curl_set_string(CURL *easy, CURLoption option, const char *value);

// libcurl keeps the list until the option is set again or the handle is reset: the caller frees it,
// and not before the transfer is over.
CURLcode c_holdfast_curl_set_list(CURL *easy, CURLoption option, struct curl_slist *list);

// libcurl writes into `buffer`, of CURL_ERROR_SIZE bytes, until the handle is reset or freed.
CURLcode c_holdfast_curl_set_error_buffer(CURL *easy, char *buffer);

// libcurl keeps `context` until the handle is reset and never looks into it.
CURLcode c_holdfast_curl_set_read(CURL *easy, c_holdfast_curl_read function, void *context);
CURLcode c_holdfast_curl_set_write(CURL *easy, c_holdfast_curl_write function, void *context);
CURLcode c_holdfast_curl_set_header(CURL *easy, c_holdfast_curl_write function, void *context);
CURLcode c_holdfast_curl_set_prerequest(CURL *easy, c_holdfast_curl_prerequest function,
                                        void *context);
CURLcode c_holdfast_curl_set_private(CURL *easy, void *context);

// The pointer given to `c_holdfast_curl_set_private`, NULL if none.
CURLcode c_holdfast_curl_get_private(CURL *easy, void **context);

CURLMcode c_holdfast_curl_multi_set_long(CURLM *multi, CURLMoption option, long value);

// The next transfer that is over: 1 and both results set, or 0 when there is none. The easy handle
// is still in `multi`, and is the caller's to remove.
int c_holdfast_curl_multi_next_done(CURLM *multi, CURL **easy, CURLcode *result);

#endif
