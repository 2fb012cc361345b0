// Who is calling? Verifies the header X-Sidegate-Assertion with jose (`npm install jose`).

import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

// The origin of upstream.url, as `sidegate check` prints it, and the address where this program reaches Sidegate.
const origin = process.env.APP_ORIGIN ?? "http://127.0.0.1:3000";
const address = process.env.SIDEGATE_KEYS ?? "http://127.0.0.1:8080/.well-known/jwks.json";
const keys = createRemoteJWKSet(new URL(address));

// The claims about the caller, such as `sub` and `roles`. Throws for anything else.
export async function caller(assertion) {
  const { payload } = await jwtVerify(assertion, keys, {
    typ: "sidegate-assertion+jwt",
    algorithms: ["EdDSA", "ES256", "RS256"],
    issuer: "sidegate",
    audience: origin,
    requiredClaims: ["sub", "iat", "exp"],
    clockTolerance: 5,
  });
  return payload;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      console.log(JSON.stringify(await caller(line.trim())));
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
      console.log("refused:", error.message);
    }
  }
}
