package signature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/signature"
)

// request is one request that a receiver of the documents judges.
type request struct {
	Name    string            `json:"name"`
	Headers map[string]string `json:"headers"` // names in lower case
	Body    string            `json:"body"`    // base64
	Secret  string            `json:"secret"`
	want    bool
}

// requests are real signatures, and what was done to them.
func requests() (out []request) {
	const secret = "0123456789abcdef0123456789abcdef"
	body := []byte("{\"order\": 17, \"city\": \"Z\u00fcrich\", \"raw\": \"\\u0000 \"}\n")
	sign := func(at time.Time, secrets ...string) map[string]string {
		keys := make([]signature.Secret, len(secrets))
		for i, s := range secrets {
			keys[i] = signature.Secret(s)
		}
		h := http.Header{}
		signature.SignHeader(h, "task_129", at, body, keys...)
		m := map[string]string{}
		for k := range h {
			m[strings.ToLower(k)] = h.Get(k)
		}
		return m
	}
	add := func(name string, want bool, body []byte, secret string, headers map[string]string, change func(map[string]string)) {
		if change != nil {
			change(headers)
		}
		out = append(out, request{name, headers, base64.StdEncoding.EncodeToString(body), secret, want})
	}
	now, older := time.Now(), strings.Repeat("o", 32)
	set := func(k, v string) func(map[string]string) { return func(m map[string]string) { m[k] = v } }
	drop := func(k string) func(map[string]string) { return func(m map[string]string) { delete(m, k) } }
	add("good", true, body, secret, sign(now, secret), nil)
	add("new beside old", true, body, secret, sign(now, secret, older), nil)
	add("old beside new", true, body, older, sign(now, secret, older), nil)
	add("a minute old", true, body, secret, sign(now.Add(-time.Minute), secret), nil)
	add("unknown version first", true, body, secret, sign(now, secret), func(m map[string]string) { m["webhook-signature"] = "v9,abc " + m["webhook-signature"] })
	add("another secret", false, body, older, sign(now, secret), nil)
	add("changed body", false, bytes.Replace(body, []byte("17"), []byte("18"), 1), secret, sign(now, secret), nil)
	add("body cut", false, body[:len(body)-1], secret, sign(now, secret), nil)
	add("empty body", false, nil, secret, sign(now, secret), nil)
	add("another id", false, body, secret, sign(now, secret), set("webhook-id", "task_130"))
	add("another time", false, body, secret, sign(now, secret), set("webhook-timestamp", fmt.Sprint(now.Unix()-1)))
	add("old", false, body, secret, sign(now.Add(-10*time.Minute), secret), nil)
	add("from the future", false, body, secret, sign(now.Add(10*time.Minute), secret), nil)
	add("no number for a time", false, body, secret, sign(now, secret), set("webhook-timestamp", "now"))
	add("a huge time", false, body, secret, sign(now, secret), set("webhook-timestamp", strings.Repeat("9", 40)))
	add("no id", false, body, secret, sign(now, secret), drop("webhook-id"))
	add("no time", false, body, secret, sign(now, secret), drop("webhook-timestamp"))
	add("no signature", false, body, secret, sign(now, secret), drop("webhook-signature"))
	add("empty signature", false, body, secret, sign(now, secret), set("webhook-signature", ""))
	add("signature cut", false, body, secret, sign(now, secret), func(m map[string]string) { m["webhook-signature"] = m["webhook-signature"][:20] })
	add("signature without its version", false, body, secret, sign(now, secret), func(m map[string]string) { m["webhook-signature"] = m["webhook-signature"][3:] })
	return out
}

// snippets gives the code blocks of a language in the documents that define verify.
func snippets(t *testing.T, language string) (out []string) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/receivers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		if regexp.MustCompile(`\bverify\(`).MatchString(m[1]) {
			out = append(out, m[1])
		}
	}
	if len(out) == 0 {
		t.Fatalf("docs/receivers.md has no %s snippet", language)
	}
	return out
}

// receiver makes a program of a snippet: it reads the requests of cases.json and prints a line of 0 or 1 for each.
type receiver struct {
	language string
	needs    string // the program that runs it
	file     string
	code     string // with %s for the snippet
	command  []string
}

var receivers = []receiver{
	{"php", "php", "r.php", `<?php
declare(strict_types=1);
%s
foreach (json_decode(file_get_contents('cases.json'), true) as $c) {
    echo verify(array_combine(array_map('ucwords', array_keys($c['headers'])), $c['headers']), base64_decode($c['body']), $c['secret']) ? "1\n" : "0\n";
}`, []string{"php", "r.php"}},
	{"python", "python3", "r.py", `%s
import json
class Headers(dict):
    def get(self, name, default=None):
        return dict.get(self, name.lower(), default)
for c in json.load(open("cases.json")):
    print(1 if verify(Headers(c["headers"]), base64.b64decode(c["body"]), c["secret"]) else 0)
`, []string{"python3", "r.py"}},
	{"js", "node", "r.mjs", `%s
import { readFileSync } from "node:fs";
for (const c of JSON.parse(readFileSync("cases.json"))) console.log(verify(c.headers, Buffer.from(c.body, "base64"), c.secret) ? 1 : 0);
`, []string{"node", "r.mjs"}},
	{"java", "java", "R.java", `public class R {
%s
    public static void main(String[] args) throws Exception {
        for (String line : java.nio.file.Files.readAllLines(java.nio.file.Path.of("cases.txt"))) {
            String[] f = line.split("\t", -1);
            var headers = new java.util.HashMap<String, String>();
            for (int i = 2; i + 1 < f.length; i += 2) headers.put(f[i], f[i + 1]);
            System.out.println(verify(headers, java.util.Base64.getDecoder().decode(f[1]), f[0]) ? 1 : 0);
        }
    }
}`, []string{"java", "R.java"}},
	{"go", "go", "main.go", `package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"github.com/taskweir/taskweir/pkg/signature"
)

var (
	_ = hmac.New
	_ = sha256.New
	_ = strconv.ParseInt
	_ = strings.Fields
	_ = time.Now
	_ = signature.Verify
)

%s

func main() {
	raw, err := os.ReadFile("cases.json")
	if err != nil {
		panic(err)
	}
	var cases []struct {
		Headers      map[string]string
		Body, Secret string
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		panic(err)
	}
	for _, c := range cases {
		r := &http.Request{Header: http.Header{}}
		for k, v := range c.Headers {
			r.Header.Set(k, v)
		}
		body, _ := base64.StdEncoding.DecodeString(c.Body)
		n := 0
		if verify(r, body, c.Secret) {
			n = 1
		}
		fmt.Println(n)
	}
}
`, nil},
}

// TestReceiversOfTheDocuments runs every snippet of docs/receivers.md, as it stands there, on good and on tampered requests.
func TestReceiversOfTheDocuments(t *testing.T) {
	for _, r := range receivers {
		for i, snippet := range snippets(t, r.language) {
			t.Run(fmt.Sprintf("%s %d", r.language, i+1), func(t *testing.T) {
				if _, err := exec.LookPath(r.needs); err != nil {
					t.Skipf("the snippet was not run: %v", err)
				}
				judge(t, &r, snippet)
			})
		}
	}
}

func judge(t *testing.T, r *receiver, snippet string) {
	dir := t.TempDir()
	cases := requests()
	raw, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, c := range cases {
		table.WriteString(c.Secret + "\t" + c.Body)
		for k, v := range c.Headers {
			table.WriteString("\t" + k + "\t" + v)
		}
		table.WriteString("\n")
	}
	for name, content := range map[string]string{"cases.json": string(raw), "cases.txt": table.String(), r.file: strings.Replace(r.code, "%s", snippet, 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := r.command
	if command == nil {
		command = []string{buildGo(t, filepath.Join(dir, r.file))}
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	lines := strings.Fields(out.String())
	if len(lines) != len(cases) {
		t.Fatalf("%d answers to %d requests: %s %s", len(lines), len(cases), out.String(), errs.String())
	}
	for i, c := range cases {
		if got := lines[i] == "1"; got != c.want {
			t.Errorf("%s: accepted %v", c.Name, got)
		}
	}
}

// buildGo builds a file of this module's.
func buildGo(t *testing.T, file string) string {
	t.Helper()
	bin := filepath.Join(filepath.Dir(file), "receiver")
	out, err := exec.Command("go", "build", "-o", bin, file).CombinedOutput() // in this folder, so that it finds the module
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}
