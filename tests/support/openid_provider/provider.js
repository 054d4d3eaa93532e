// The certified OpenID provider, on loopback, for tests/test_identity.py and tests/test_frontend.py,
// which says in FRONTEND_URL where its frontend will be.
//
// Prints its issuer in one line. Then each line that comes in is obeyed and answered by itself:
// "rotate" makes a new signing key and still publishes the old one, "forget" drops old keys.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

import Provider from "oidc-provider";

// The library's notices do not belong between the answers.
console.info = console.error;
const say = (line) => process.stdout.write(`${line}\n`);

const RESOURCES = ["https://api.example.com", "https://other.example.com"];
const FRONTEND = process.env.FRONTEND_URL;
// Soon enough for a browser to see new ones.
const FRONTEND_SECONDS = 40;
const REDIRECT = "https://app.example.com/signed-in";

const newKey = () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), alg: "RS256", use: "sig" };
};

const configuration = (keys) => ({
  jwks: { keys },
  cookies: { keys: [randomUUID()] },
  clients: [
    {
      client_id: "a-machine",
      client_secret: "a-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: "a-page",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code"],
      redirect_uris: [REDIRECT],
    },
    ...(FRONTEND
      ? [
          {
            client_id: "a-frontend",
            token_endpoint_auth_method: "none",
            grant_types: ["authorization_code", "refresh_token"],
            redirect_uris: [`${FRONTEND}/sign-in/callback`],
            post_logout_redirect_uris: [`${FRONTEND}/`],
          },
        ]
      : []),
  ],
  scopes: ["openid", "read", "write"],
  issueRefreshToken: async (_, client) => client.grantTypeAllowed("refresh_token"),
  findAccount: (_, subject) => ({ accountId: subject, claims: () => ({ sub: subject }) }),
  extraTokenClaims: () => ({ roles: ["auditor"], tenant: "acme" }),
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => {
        if (!RESOURCES.includes(resource)) throw new Error(`unknown resource ${resource}`);
        const seconds = FRONTEND ? FRONTEND_SECONDS : undefined;
        return {
          scope: "read write",
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: seconds,
        };
      },
    },
  },
});

let keys = [newKey()];
let answer;
const server = createServer((request, response) => answer(request, response));

server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const publish = () => {
    answer = new Provider(issuer, configuration(keys)).callback();
  };
  publish();
  say(issuer);
  createInterface({ input: process.stdin })
    .on("line", (order) => {
      if (order === "rotate") keys = [newKey(), ...keys];
      if (order === "forget") keys = keys.slice(0, 1);
      publish();
      say(order);
    })
    .on("close", () => process.exit());
});
