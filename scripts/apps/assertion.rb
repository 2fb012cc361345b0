# Verifies assertions with ruby-jwt, as examples/assertion does with other libraries. ruby-jwt before 2.8 has no Ed25519.

require "json"
require "jwt"
require "net/http"

KEYS = JSON.parse(Net::HTTP.get(URI(ENV.fetch("SIDEGATE_KEYS"))), symbolize_names: true)
OPTIONS = {
  algorithms: %w[ES256 RS256], jwks: KEYS, iss: "sidegate", verify_iss: true, aud: ENV.fetch("APP_ORIGIN"),
  verify_aud: true, leeway: 5, required_claims: %w[iss aud sub iat exp]
}.freeze

$stdout.sync = true
$stdin.each_line do |line|
  claims, header = JWT.decode(line.strip, nil, true, OPTIONS)
  raise JWT::DecodeError, "another kind of token" unless header["typ"] == "sidegate-assertion+jwt"

  puts JSON.generate(claims)
rescue JWT::DecodeError => e
  puts "refused: #{e.message.lines.first}"
end
