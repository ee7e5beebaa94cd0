#ifndef C_HOLDFAST_CURL_H
#define C_HOLDFAST_CURL_H
#include <curl/curl.h>
#endif
