package report_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/report"
)

// pages writes the pages to look at, and returns where.
func pages(t *testing.T) []string {
	dir := t.TempDir()
	var paths []string
	for name, page := range map[string]func() (string, error){
		"full": report.FullReport(32).Page, "sparse": report.SparseReport().Page, "crowded": report.CrowdedReport().Page, "twenty": report.TwentyReport().Page,
		"choice": report.ChoiceOf(report.FullReport(4)).Page, "choice of twenty": report.ChoiceOf(report.TwentyReport()).Page,
		"scores": evaluated().Page, "doctor": doctor().Page, "doctor without texts": routers().Page,
	} {
		content, err := page()
		require.NoError(t, err)
		paths = append(paths, filepath.Join(dir, name+".html"))
		require.NoError(t, os.WriteFile(paths[len(paths)-1], []byte(content), 0o600))
	}
	return paths
}

// TestPagesNeedNothingElse reads pages without a browser.
func TestPagesNeedNothingElse(t *testing.T) {
	for _, path := range pages(t) {
		page, err := os.Open(path)
		require.NoError(t, err)
		defer page.Close()
		require.Empty(t, externals(t, page), filepath.Base(path))
	}
	// The check itself.
	require.Equal(t, []string{"link href=style.css", "id a again", "img src=//example.org/a.png", "svg without a label", "script"},
		externals(t, strings.NewReader(
			`<!doctype html><link rel="icon" href="data:,"><link href="style.css"><p id="a"></p><p id="a"></p><img src="//example.org/a.png"><svg></svg><script></script>`)))
}

// externals returns what a page needs that is not in it, and what it lacks to be
// read out.
func externals(t *testing.T, page io.Reader) []string {
	var found []string
	ids := make(map[string]bool)
	d := xml.NewDecoder(page)
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		switch e := token.(type) {
		case xml.StartElement:
			named := false
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "src", "srcset", "href", "action", "data", "poster":
					if !strings.HasPrefix(a.Value, "data:") {
						found = append(found, fmt.Sprintf("%s %s=%s", e.Name.Local, a.Name.Local, a.Value))
					}
				case "id":
					if ids[a.Value] {
						found = append(found, fmt.Sprintf("id %s again", a.Value))
					}
					ids[a.Value] = true
				case "aria-label", "aria-hidden":
					named = a.Value != ""
				}
			}
			switch e.Name.Local {
			case "svg":
				if !named {
					found = append(found, "svg without a label")
				}
			case "script", "iframe", "object", "embed":
				found = append(found, e.Name.Local)
			}
		case xml.CharData:
			for _, word := range []string{"url(", "@import"} {
				if strings.Contains(string(e), word) {
					found = append(found, word)
				}
			}
		}
	}
}

// TestPagesInABrowser looks at pages with Chromium, as wide as a desk and as a
// phone has it.
func TestPagesInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where races are looked for")
	}
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no chromium, chromium-browser or google-chrome in PATH")
	}
	if _, log, err := load(t, browser, "about:blank"); err != nil {
		t.Skipf("%s does not run here: %v\n%s", browser, err, log)
	}
	require.Empty(t, look(t, browser, pages(t)...))

	t.Run("the check itself", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "bad.html")
		require.NoError(t, os.WriteFile(path, []byte(`<!doctype html><meta charset="utf-8"><img src="http://example.org/a.png">
<div style="width: 1000px">wide</div><table><tr><th style="min-width: 380px">candidate</th><th>size</th></tr></table><script>nothing.here()</script>
<svg role="img" viewBox="0 0 100 100" width="100"><text x="0" y="50">one</text><text x="5" y="50">two</text><text x="95" y="90">three</text><text x="5" y="20">four</text><circle class="dot" cx="15" cy="16" r="4"/></svg>`), 0o600))
		found := strings.Join(look(t, browser, path), "\n")
		require.Contains(t, found, "390: wider than the window: 10")
		require.NotContains(t, found, "1400: wider")
		require.Contains(t, found, "390: size is out of sight")
		require.NotContains(t, found, "1400: size")
		require.Contains(t, found, "1400: asks for http://example.org/a.png")
		require.Contains(t, found, `1400: "one" covers "two"`)
		require.Contains(t, found, `1400: "three" is cut off`)
		require.Contains(t, found, `1400: "four" is on a dot`)
		require.Contains(t, found, "nothing is not defined")
	})
}

// lookScript gathers what is wrong with the pages in the frames.
const lookScript = `
const found = document.querySelector("pre");
for (const frame of document.querySelectorAll("iframe")) {
  const say = what => found.textContent += frame.src.split("/").pop() + " at " + frame.width + ": " + what + "\n";
  const page = frame.contentDocument;
  if (!page.body.textContent.trim()) say("is empty");
  const width = page.documentElement.scrollWidth;
  if (width > frame.clientWidth) say("wider than the window: " + width);
  for (const entry of frame.contentWindow.performance.getEntriesByType("resource"))
    if (!entry.name.startsWith("data:")) say("asks for " + entry.name);
  for (const column of page.querySelectorAll("th"))
    if (["size", "KL divergence"].includes(column.textContent) && column.getBoundingClientRect().right > frame.clientWidth)
      say(column.textContent + " is out of sight");
  for (const chart of page.querySelectorAll("svg[role=img]")) {
    const inside = chart.getBoundingClientRect();
    if (!inside.width) continue; // the one for another width
    const texts = [...chart.querySelectorAll("text")].map(t => ({text: JSON.stringify(t.textContent), box: t.getBoundingClientRect()}));
    const dots = [...chart.querySelectorAll("circle.dot")].map(d => d.getBoundingClientRect());
    const radius = inside.width / chart.viewBox.baseVal.width * 4;
    texts.forEach(({text, box}, i) => {
      for (const dot of dots) {
        const x = (dot.left + dot.right) / 2, y = (dot.top + dot.bottom) / 2;
        if (box.left < x + radius && x - radius < box.right && box.top + 3 < y + radius && y - radius < box.bottom - 3) say(text + " is on a dot");
      }
      if (box.left < inside.left - 1 || box.right > inside.right + 1 || box.top < inside.top - 1 || box.bottom > inside.bottom + 1)
        say(text + " is cut off");
      for (const other of texts.slice(i + 1)) {
        const b = other.box, line = 3; // above and below the letters
        if (box.left < b.right && b.left < box.right && box.top + line < b.bottom - line && b.top + line < box.bottom - line)
          say(text + " covers " + other.text);
      }
    });
  }
}
found.textContent += "looked at everything";`

// look returns what is wrong with pages in a browser that finds no other host.
func look(t *testing.T, browser string, paths ...string) []string {
	t.Helper()
	var page strings.Builder
	page.WriteString("<!doctype html><meta charset=\"utf-8\"><pre></pre>\n")
	for _, path := range paths {
		for _, width := range []int{1400, 390} {
			fmt.Fprintf(&page, "<iframe src=\"file://%s\" width=\"%d\" height=\"900\" style=\"border: 0\"></iframe>\n", filepath.ToSlash(path), width)
		}
	}
	fmt.Fprintf(&page, "<script>window.onload = () => { %s }</script>\n", lookScript)
	frames := filepath.Join(t.TempDir(), "frames.html")
	require.NoError(t, os.WriteFile(frames, []byte(page.String()), 0o600))
	dom, log, err := load(t, browser, "file://"+filepath.ToSlash(frames))
	require.NoError(t, err, log)
	_, report, _ := strings.Cut(dom, "<pre>")
	report, _, _ = strings.Cut(report, "</pre>")
	lines := strings.Split(report, "\n")
	require.Equal(t, "looked at everything", lines[len(lines)-1], log)
	lines = lines[:len(lines)-1]
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, "CONSOLE") {
			lines = append(lines, line)
		}
	}
	return lines
}

// load returns what a page is in a browser that finds no other host, and its log.
func load(t *testing.T, browser, url string) (dom, log string, err error) {
	t.Helper()
	profile, err := os.MkdirTemp("", "ggufkit-page-test-")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(profile) }() // not t.TempDir: a helper of the browser may outlive it and hold files

	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+profile,
		"--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files",
		"--enable-logging=stderr", "--dump-dom", url)
	cmd.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	return string(stdout), stderr.String(), err
}

// TestThePageSaysWhatMatters reads a page as somebody would who wants to choose.
func TestThePageSaysWhatMatters(t *testing.T) {
	page, err := report.ChoiceOf(report.TwentyReport()).Page()
	require.NoError(t, err)
	in(t, page, "<h1>Drift of A mixture</h1>", "<h2>The choice: Q6_K</h2>", "7.19 MiB", "0.00085 <small>hardly any drift")
	in(t, page, "<th>candidate</th><th>size</th><th>KL divergence</th><th>memory</th><th class=\"verdict\">verdict</th>")
	in(t, page, ">Q2_K<", ">IQ2_M<", "</table>") // from large to small
	in(t, page, "<h2>Provenance</h2>", "A mixture (moe.gguf), architecture llama, 10.6 M parameters", strings.Repeat("89ab", 16),
		"ggufkit v1.2.3 on 28 November 2026, 15:04 UTC", "A CPU, avx2", "ggufkit drift moe.gguf -f chat.txt")
	require.Equal(t, 1, strings.Count(page, "not measured: smaller than IQ4_XS, which is further from the original than Q6_K</td>")-1,
		"once for Q8_0, once for all that follow each other")
	for _, never := range []string{"tokens/s", "NaN", "ZgotmplZ"} {
		require.NotContains(t, page, never)
	}
}

func TestBands(t *testing.T) {
	for kld, word := range map[float64]string{0: "hardly any", 0.0009: "hardly any", 0.001: "small", 0.05: "noticeable", 0.1: "large", 3: "large"} {
		require.Equal(t, word, report.BandOf(kld), kld)
	}
}
