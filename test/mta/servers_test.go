//go:build cgo

package mta

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

// Whom the MTAs know, and the recipient that they refuse themselves.
const (
	realm    = "mail.example.org" // the host's name, which is what Sendmail looks under
	login    = "tester"
	account  = login + "@" + realm
	password = "secret"

	refusedUser = "refused"
	refusedHost = "example.org"
	refused     = refusedUser + "@" + refusedHost
)

// How long a hasty MTA waits for a filter, and how often a filter that keeps it waiting says that it lives. The handler
// lasts longer than the MTA waits; between two words there is a fraction of that.
const (
	patience  = 3 * time.Second
	slow      = patience + time.Second
	keepAlive = patience / 30
)

// server is a running MTA.
type server interface {
	Addr() string
	Addr6() string
	Delivered() []harness.Mail
	Held() []string
	Queued() []string
	Log() string
	Submit(stdin string, args ...string) (output string, exit int)
	SubmitSMTP() *harness.Dialogue
}

// setup is what an MTA is started with.
type setup struct {
	socket string // where its filter listens
	manner manner
	ipv6   bool
	secrets
}

// manner is how an MTA treats its filter.
type manner int

const (
	usually   manner = iota // it waits as long as it does by default, and takes no mail while the filter fails
	shortly                 // it does not wait long for each reply, and each word of smfi_progress
	inTotal                 // and not long for all that a filter does at eom, where the MTA has such a limit: Sendmail's T=E
	failsOpen               // it goes on without a filter that fails
	withLocal               // it shows the filter mail that does not come by SMTP, too
	allManners
)

// kind is one of the two MTAs.
type kind struct {
	name    string
	start   func(t *testing.T, s setup) server
	version *regexp.Regexp // what its log says of itself
}

var kinds = []kind{
	{"Postfix", startPostfix, regexp.MustCompile(`daemon started -- version ([\d.]+)`)},
	{"Sendmail", startSendmail, regexp.MustCompile(`ESMTP Sendmail ([\d.]+)/`)},
}

func startPostfix(t *testing.T, s setup) server {
	params := map[string]string{
		"smtpd_recipient_restrictions": "check_recipient_access inline:{ { " + refused + " = 550 5.1.1 No such user here } }",
		"smtpd_tls_cert_file":          s.cert, "smtpd_tls_key_file": s.key, "smtpd_tls_security_level": "may",
		"smtpd_tls_CAfile": s.ca, "smtpd_tls_ask_ccert": "yes", "smtpd_tls_fingerprint_digest": "sha256",
		"smtpd_sasl_auth_enable": "yes",
	}
	if s.manner == shortly || s.manner == inTotal {
		seconds := fmt.Sprintf("%ds", patience/time.Second)
		params["milter_command_timeout"], params["milter_content_timeout"] = seconds, seconds
	}
	if s.manner == withLocal {
		params["non_smtpd_milters"] = "$smtpd_milters"
	}
	action := "tempfail"
	if s.manner == failsOpen {
		action = "accept"
	}
	return postfix.Start(t, postfix.Config{
		DefaultAction: action, Milters: []string{"unix:" + s.socket}, IPv6: s.ipv6, Params: params,
		Files: map[string]string{"sasl/smtpd.conf": s.saslConf},
	})
}

func startSendmail(t *testing.T, s setup) server {
	cfg := sendmail.Config{Milters: []string{"unix:" + s.socket}, Daemon: true, IPv6: s.ipv6, MC: strings.NewReplacer(
		"@CERT@", s.cert, "@KEY@", s.key, "@CA@", s.ca, "@SASL@", s.sasl, "@REFUSED_USER@", refusedUser, "@REFUSED_HOST@", refusedHost).Replace(sendmailMC)}
	seconds := int(patience / time.Second)
	switch s.manner {
	case shortly:
		cfg.Timeouts = fmt.Sprintf("S:%ds;R:%ds", seconds, seconds)
	case inTotal:
		cfg.Timeouts = fmt.Sprintf("S:%ds;R:%ds;E:%ds", seconds, seconds, seconds)
	case failsOpen:
		cfg.Flags = sendmail.NoFlags
	}
	return sendmail.Start(t, cfg)
}

const sendmailMC = "define(`confSERVER_CERT', `@CERT@')dnl\n" +
	"define(`confSERVER_KEY', `@KEY@')dnl\n" +
	"define(`confCACERT', `@CA@')dnl\n" +
	"define(`confCACERT_PATH', `@SASL@')dnl\n" + // it takes a folder, or has no TLS at all
	"define(`confAUTH_MECHANISMS', `PLAIN')dnl\n" +
	"LOCAL_CONFIG\n" +
	"ESASL_CONF_PATH=@SASL@\n" +
	// An unknown user of the host: those that rules refuse are not shown to a filter, whatever the filter asks for.
	"MODIFY_MAILER_FLAGS(`LOCAL', `-A')dnl\n" + // no aliases: there is no file of them
	"MAILER(`local')dnl\n" +
	"LOCAL_RULE_0\n" +
	"R@REFUSED_USER@ < @ @REFUSED_HOST@ $* > $*\t\t$#local $: no-such-user\n"

// secrets are an MTA's certificate and users, as paths.
type secrets struct {
	cert, key  string
	ca         string // whom the MTAs believe: the client
	sasl       string // the folder with libsasl's configuration for Sendmail
	saslConf   string // that configuration
	clientCert tls.Certificate
}

// makeSecrets makes them in a folder that ends with the test.
func makeSecrets(t *testing.T) secrets {
	dir := harness.TempDir(t, "mta-secrets-")
	harness.StartGuard(t, dir, "")
	file := func(name string) string { return filepath.Join(dir, name) }
	s := secrets{cert: file("cert.pem"), key: file("key.pem"), ca: file("ca.pem"), sasl: file("sasl")}
	cert, key := selfSigned(t, realm)
	require.NoError(t, os.WriteFile(s.cert, cert, 0o644))
	require.NoError(t, os.WriteFile(s.key, key, 0o600))
	cert, key = selfSigned(t, "client.example.org")
	require.NoError(t, os.WriteFile(s.ca, cert, 0o644))
	var err error
	s.clientCert, err = tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	s.saslConf = makeUsers(t, s.sasl)
	return s
}

// selfSigned makes a certificate, and gives it and its key in PEM.
func selfSigned(t *testing.T, name string) (cert, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// makeUsers makes a folder with a database of one user, and with libsasl's configuration, which it returns.
func makeUsers(t *testing.T, dir string) (conf string) {
	if _, err := exec.LookPath("saslpasswd2"); err != nil {
		harness.GiveUp(t, "saslpasswd2 is not in PATH: make test-deps installs it")
	}
	require.NoError(t, os.Mkdir(dir, 0o755))
	db := filepath.Join(dir, "users")
	conf = "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: " + db + "\nmech_list: PLAIN\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Sendmail.conf"), []byte(conf), 0o644))
	cmd := exec.Command("saslpasswd2", "-p", "-c", "-f", db, "-u", realm, login)
	cmd.Stdin = strings.NewReader(password)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, chown(db, "postfix")) // Sendmail is root, whom that does not keep out
	return conf
}

// chown gives a file to a user.
func chown(path, name string) error {
	owner, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, -1)
}

// hasIPv6 says whether the machine has ::1.
func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
