package wallet_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cairn/wallet"
)

// TestTokenIsNotShown: what follows the host of a node's URL may be a token, and is
// in no error.
func TestTokenIsNotShown(t *testing.T) {
	t.Parallel()
	const token = "8sEcReT8"
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	answers := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body + r.URL.Path))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, url := range []string{
		closed.URL + "/" + token,
		closed.URL + "/" + token + "/",
		closed.URL + "/?token=" + token,
		strings.Replace(closed.URL, "http", "ws", 1) + "/" + token,
		strings.Replace(answers(http.StatusUnauthorized, "no"), "http", "ws", 1) + "/" + token,
		answers(http.StatusUnauthorized, "who is ") + "/" + token,
		answers(http.StatusOK, "no JSON of ") + "/" + token,
		"ftp://localhost/" + token,
		"localhost:8545/" + token,
		"http://%zz/" + token,
		"http://user:" + token + "@%zz",
		"user:" + token + "@localhost:8545",
		strings.Replace(closed.URL, "://", "://user:"+token+"@", 1) + "/" + token,
	} {
		c, err := wallet.Dial(t.Context(), url)
		if err == nil {
			_, err = c.Height(t.Context())
			if shown := c.URL(); strings.Contains(shown, token) || !strings.HasSuffix(shown, "/xxxxx") {
				t.Errorf("it is shown as %s", shown)
			}
			c.Close()
		}
		if err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", url, err)
		}
	}
	c, err := wallet.Dial(t.Context(), closed.URL)
	if err != nil || c.URL() != closed.URL {
		t.Errorf("a URL without a token is shown as %s: %v", c.URL(), err)
	}
}
