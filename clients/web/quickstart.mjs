// A listener's first minutes over gRPC-Web, with a client generated from the contracts.
//
//   node --preserve-symlinks clients/web/quickstart.mjs [URL]
//
// One call that is allowed, one that is denied and says why, one consent, and a stream that ends when it should.
import { randomBytes, randomUUID } from "node:crypto";
import { createClient, ConnectError, Code } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-node";
import { AuthService } from "@polyphony/contracts/polyphony/auth/v1/auth_service_pb.js";
import { AuditService } from "@polyphony/contracts/polyphony/compliance/v1/audit_service_pb.js";
import { ConsentService } from "@polyphony/contracts/polyphony/compliance/v1/consent_service_pb.js";
import { UserDataService } from "@polyphony/contracts/polyphony/spotify/v1/user_data_service_pb.js";
import { ErrorInfoSchema, PreconditionFailureSchema } from "@polyphony/contracts/google/rpc/error_details_pb.js";

let token = "";
const transport = createGrpcWebTransport({
  baseUrl: process.argv[2] ?? "http://127.0.0.1:8080",
  httpVersion: "1.1",
  interceptors: [
    (next) => (request) => {
      if (token) request.header.set("authorization", `Bearer ${token}`);
      return next(request);
    },
  ],
});
const auth = createClient(AuthService, transport);
const consents = createClient(ConsentService, transport);
const history = createClient(UserDataService, transport);
const audit = createClient(AuditService, transport);

const email = `web-${randomBytes(6).toString("hex")}@polyphony.example`;
const password = randomBytes(18).toString("base64url");
await auth.signUp({ email, password, displayName: "Web listener", requestId: randomUUID() });
token = (await auth.logIn({ email, password })).tokens.accessToken;

const { user } = await auth.whoAmI({});
console.log(`allowed: WhoAmI says ${user.name}`);

try {
  await history.getListeningProfile({ parent: "users/me" });
  throw new Error("a profile was given without consent");
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  const [info] = error.findDetails(ErrorInfoSchema);
  const [failure] = error.findDetails(PreconditionFailureSchema);
  console.log(`denied:  GetListeningProfile answers ${Code[error.code]} ${info.reason}: ${error.rawMessage}`);
  console.log(`         it would need ${failure.violations[0].type} ${failure.violations[0].subject}`);
  console.log(`         and left audit record ${error.metadata.get("polyphony-audit-id")}`);
}

const { purposes } = await consents.listPurposes({ languageCode: "en" });
const notice = purposes.find((each) => each.id === "listening-profile");

// A stream of audit records: it shows the grant that is made while it is open.
const watching = new AbortController();
const seen = (async () => {
  for await (const { record } of audit.watchRecords({ parent: "users/me" }, { signal: watching.signal })) {
    if (record.record.method.endsWith("/GrantConsent")) return record.record.id;
  }
})();
await new Promise((resolve) => setTimeout(resolve, 500));
await consents.grantConsent({
  parent: "users/me",
  purpose: notice.purpose,
  noticeVersion: notice.version,
  languageCode: notice.languageCode,
  requestId: randomUUID(),
});
console.log(`stream:  WatchRecords showed the grant as ${await seen}`);
watching.abort();

const { profile } = await history.getListeningProfile({ parent: "users/me" });
console.log(`allowed: GetListeningProfile counts ${profile.plays} plays`);
