// A certified OpenID provider with the development pages for sign-in and consent. Any login name is an account.
import Provider from 'oidc-provider';

const given = JSON.parse(process.env.PROVIDER);
const account = (id) => ({
  accountId: id,
  claims: () => ({
    sub: id,
    name: `${id} of the provider`,
    email: `${id}@example.com`,
    email_verified: !id.startsWith('unverified'),
    groups: id.startsWith('ops') ? ['ops', 'everyone'] : ['everyone'],
  }),
});
const provider = new Provider(given.issuer, {
  clients: [{
    client_id: 'runstead',
    client_secret: given.secret,
    redirect_uris: given.redirects,
    grant_types: ['authorization_code'],
    response_types: ['code'],
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups'],
  pkce: { required: () => true },
  cookies: { keys: ['for tests'] },
  findAccount: (_, id) => account(id),
});
provider.listen(given.port, '127.0.0.1', () => console.log('ready'));
