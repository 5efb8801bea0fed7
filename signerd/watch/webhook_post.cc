#include "signerd/watch/webhook_post.h"

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <exception>
#include <optional>

#include "firmware/runtime/metrics.h"

namespace hallmark::watch {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Request = http::request<http::string_body>;

Error Invalid(const std::string& what) { return MakeError(Reason::kConfigInvalid, what); }

template <class Stream>
asio::awaitable<unsigned> Exchange(Stream& stream, const Request& request) {
  co_await http::async_write(stream, request, asio::use_awaitable);
  beast::flat_buffer buffer;
  http::response_parser<http::empty_body> answer;
  // The status is the answer: what follows may have no length, and an end that is only the connection's.
  co_await http::async_read_header(stream, buffer, answer, asio::use_awaitable);
  co_return answer.get().result_int();
}

asio::awaitable<unsigned> Post(const Url& url, const std::filesystem::path& ca, const Request& request) {
  asio::ip::tcp::resolver resolver(co_await asio::this_coro::executor);
  // A literal address of IPv6 is written in brackets in a URL.
  const bool literal = url.host.starts_with('[');
  const std::string host = literal ? url.host.substr(1, url.host.size() - 2) : url.host;
  const auto addresses = co_await resolver.async_resolve(host, url.port, asio::use_awaitable);
  if (!url.tls) {
    beast::tcp_stream stream(co_await asio::this_coro::executor);
    co_await stream.async_connect(addresses, asio::use_awaitable);
    co_return co_await Exchange(stream, request);
  }
  asio::ssl::context context(asio::ssl::context::tls_client);
  if (ca.empty()) {
    context.set_default_verify_paths();
  } else {
    context.load_verify_file(ca.string());
  }
  beast::ssl_stream<beast::tcp_stream> stream(co_await asio::this_coro::executor, context);
  stream.set_verify_mode(asio::ssl::verify_peer);
  stream.set_verify_callback(asio::ssl::host_name_verification(host));
  SSL_set_tlsext_host_name(stream.native_handle(), host.c_str());
  co_await stream.next_layer().async_connect(addresses, asio::use_awaitable);
  co_await stream.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
  co_return co_await Exchange(stream, request);
}

}  // namespace

Result<Url> ParseUrl(const std::string& text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    url.tls = false;
  } else {
    return Invalid("does not begin with \"https://\"");
  }
  if (std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c >= '\x7f'; })) {
    return Invalid("has a character that no URL has");
  }
  const std::size_t path = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, path);
  url.target = std::string(rest.substr(path, rest.find('#') - path));
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  if (authority.find('@') != std::string_view::npos) return Invalid("has a user name; that belongs in no file");
  const std::size_t colon = authority.rfind(':');
  const std::size_t bracket = authority.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    url.port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
    const bool digits = !url.port.empty() && url.port.size() <= 5 &&
                        std::all_of(url.port.begin(), url.port.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || std::stoi(url.port) > 65535) return Invalid("has no usable port");
  } else {
    url.port = url.tls ? "443" : "80";
  }
  url.host = authority;
  if (url.host.empty() || url.host.starts_with('[') != url.host.ends_with(']')) return Invalid("names no host");
  if (!url.tls && !IsLoopback(url.host + ":" + url.port))
    return Invalid("is http to another machine, where anyone on the way could read it");
  return url;
}

Result<unsigned> PostJson(const Url& url, const std::filesystem::path& ca, const std::string& body,
                          const std::map<std::string, std::string>& headers, std::chrono::milliseconds limit,
                          const std::stop_token& stop) {
  Request request(http::verb::post, url.target, 11);
  request.set(http::field::host, url.host + ":" + url.port);
  request.set(http::field::user_agent, "hallmark");
  request.set(http::field::content_type, "application/json");
  request.set(http::field::connection, "close");
  for (const auto& [name, value] : headers) request.set(name, value);
  request.body() = body;
  request.prepare_payload();

  std::optional<Result<unsigned>> outcome;
  asio::io_context io(1);
  // Beast and Asio speak in exceptions here; they end here.
  const auto finished = [&](const std::exception_ptr& thrown, unsigned status) {
    try {
      if (thrown) std::rethrow_exception(thrown);
      outcome = status;
    } catch (const std::exception& error) {
      outcome = MakeError(Reason::kIoFailed, error.what());
    }
  };
  asio::co_spawn(io, Post(url, ca, request), finished);
  const std::stop_callback stopping(stop, [&io] { io.stop(); });
  io.run_for(limit);
  if (!outcome) {
    return MakeError(Reason::kDeadlineExceeded, "no answer within " + std::to_string(limit.count()) + " ms");
  }
  return *outcome;
}

}  // namespace hallmark::watch
