package jinja

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// nest is a template of n openings around something.
func nest(open, middle, end string, n int) string {
	return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
}

// deep sets ns.v to a value inside a value inside a value, or twice the same.
func deep(step, use string) string {
	return "{% set ns = namespace(v=[]) %}{% for i in range(50000) %}{% set ns.v = " + step + " %}{% endfor %}" + use
}

func double(step, use string) string {
	return "{% set ns = namespace(v=['a'], s='0123456789abcdef') %}{% for i in range(60) %}{% set ns.v = " + step + " %}{% endfor %}" + use
}

// many is a list of 40,000 names.
func many(format string) string {
	var list []string
	for i := range 40000 {
		list = append(list, fmt.Sprintf(format, i))
	}
	return strings.Join(list, ",")
}

// hostile are templates that want more than there is.
var hostile = []string{
	// nesting
	"{{ " + nest("(", "1", ")", 5000) + " }}",
	"{{ " + nest("[", "1", "]", 5000) + " }}",
	"{{ " + nest("{1:", "1", "}", 5000) + " }}",
	"{{ " + strings.Repeat("not ", 5000) + "1 }}",
	"{{ " + strings.Repeat("- ", 5000) + "1 }}",
	"{{ " + strings.Repeat("+", 5000) + "1 }}",
	"{{ 1" + strings.Repeat(" if 1 else 1", 5000) + " }}",
	"{{ 1" + strings.Repeat(" + 1", 5000) + " }}",
	"{{ 1" + strings.Repeat(" ** 1", 5000) + " }}",
	"{{ 1" + strings.Repeat("|abs", 5000) + " }}",
	"{{ a" + strings.Repeat(".a", 5000) + " }}",
	"{{ a" + strings.Repeat("[0]", 5000) + " }}",
	"{{ a" + strings.Repeat("()", 5000) + " }}",
	"{{ 1" + strings.Repeat(" and 1", 5000) + " }}",
	nest("{% if 1 %}", "", "{% endif %}", 5000),
	nest("{% for i in [1] %}", "", "{% endfor %}", 5000),
	nest("{% macro f() %}", "", "{% endmacro %}", 5000),
	nest("{% set x %}", "", "{% endset %}", 5000),
	nest("{% filter upper %}", "", "{% endfilter %}", 5000),
	nest("{% call f() %}", "", "{% endcall %}", 5000),
	"{% set " + nest("(", "a", ")", 5000) + " = 1 %}",
	"{% for " + nest("(", "a", ")", 5000) + " in [1] %}{% endfor %}",
	"{{ x is " + strings.Repeat("in ", 5000) + "}}",
	"{{ '" + nest("{", "", "}", 5000) + "'.format(1) }}",
	"{{ '{" + strings.Repeat("[0]", 5000) + "}'.format(1) }}",
	"{{ '{:{:{:{}}}}'.format(1, 2, 3, 4) }}",
	"{{ '%" + nest("(", "a", ")", 5000) + "s' % {} }}",
	// recursion
	"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
	"{% macro f(x) %}{% call f(x) %}{{ caller() }}{% endcall %}{% endmacro %}{{ f(1) }}",
	"{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}",
	"{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
	"{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
	"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	"{% block a %}{{ self.a() }}{% endblock %}",
	"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
	"{% set ns = namespace() %}{% set ns.a = [ns, ns] %}{{ ns }}",
	"{% set ns = namespace() %}{% set ns.a = {'k': ns} %}{{ ns.a|string }}",
	"{% set d = {} %}{% set _ = d.update({'a': d}) %}{{ d }}",
	"{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}",
	"{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = ns.x|map('abs') %}{% endfor %}{{ ns.x|list }}",
	"{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = ns.x|select %}{% endfor %}{{ ns.x|list }}",
	"{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = ns.x|batch(1) %}{% endfor %}{{ ns.x|list }}",
	// values inside each other
	deep("[ns.v]", "{{ ns.v }}"),
	deep("[ns.v]", "{{ ns.v|tojson }}"),
	deep("[ns.v]", "{{ ns.v|string|length }}"),
	deep("[ns.v]", "{{ '%s' % ns.v }}{{ '{}'.format(ns.v) }}"),
	"{% set ns = namespace(v=[], w=[]) %}{% for i in range(50000) %}{% set ns.v = [ns.v] %}{% set ns.w = [ns.w] %}{% endfor %}{{ ns.v == ns.w }}",
	"{% set ns = namespace(v=[], w=[]) %}{% for i in range(50000) %}{% set ns.v = [ns.v] %}{% set ns.w = [ns.w] %}{% endfor %}{{ ns.v < ns.w }}",
	deep("(ns.v,)", "{{ {ns.v: 1} }}"),
	deep("{'a': ns.v}", "{{ ns.v|tojson(indent=2) }}"),
	double("[ns.v, ns.v]", "{{ ns.v }}"),
	double("[ns.v, ns.v]", "{{ ns.v|tojson }}"),
	double("[ns.v, ns.v]", "{{ [ns.v]|join }}"),
	"{% set ns = namespace(v=[1], w=[1]) %}{% for i in range(60) %}{% set ns.v = [ns.v, ns.v] %}{% set ns.w = [ns.w, ns.w] %}{% endfor %}{{ ns.v == ns.w }}",
	"{% set ns = namespace(v=(1,)) %}{% for i in range(60) %}{% set ns.v = (ns.v, ns.v) %}{% endfor %}{{ {ns.v: 1}|length }}",
	// memory
	`{{ "A" * 10000000000 }}`,
	`{{ "A" * 99999999999999999999 }}`,
	`{{ [0] * 10000000000 }}`,
	`{{ [[]] * 9223372036854775807 }}`,
	`{{ (0,) * 1000000000 }}`,
	`{% set s = "A" * 1000000 %}{{ s|replace("A", s) }}`,
	`{% set s = "A" * 1000000 %}{{ s.replace("A", s) }}`,
	`{% set s = "A" * 1000000 %}{{ s|replace("", s) }}`,
	`{% set s = "A" * 1000000 %}{{ s.join(s) }}`,
	`{% set s = "A" * 1000000 %}{{ s|join(s) }}`,
	`{% set s = "A" * 1000000 %}{{ s|list }}`,
	`{% set s = "A" * 10000000 %}{{ s.split("A") }}`,
	`{% set s = "A" * 10000000 %}{{ s|map("upper")|list }}`,
	`{% set s = "a\n" * 1000000 %}{{ s|indent(1000000) }}`,
	`{% set s = "a\n" * 10000000 %}{{ s.splitlines() }}`,
	`{{ "a\nb"|indent(10000000000) }}`,
	`{{ {"a": [1, [2]]}|tojson(indent=100000000) }}`,
	`{{ {"a": [1, [2]]}|tojson(indent="A" * 40000000) }}`,
	`{{ range(100000)|list|tojson(separators=["A" * 100000, ":"]) }}`,
	`{{ "a"|center(10000000000) }}`,
	`{{ "a".center(10000000000) }}{{ "a".ljust(10000000000) }}`,
	`{{ "a".rjust(9223372036854775807) }}`,
	`{{ "a".zfill(9223372036854775807) }}`,
	`{{ "\t".expandtabs(9223372036854775807) }}`,
	`{{ ("\t" * 1000000).expandtabs(10000) }}`,
	`{{ "%1000000000d" % 1 }}`,
	`{{ "%*d" % (10000000000, 1) }}`,
	`{{ "%-*d" % (-9223372036854775808, 1) }}`,
	`{{ "%.1000000000d" % 1 }}`,
	`{{ "%.1000000000f" % 1 }}`,
	`{{ "%.99999999999999999999f" % 1 }}`,
	`{{ "{:1000000000}".format(1) }}`,
	`{{ "{:>{}}".format(1, 10000000000) }}`,
	`{{ "{:.1000000000f}".format(1.5) }}`,
	`{{ "{:01000000000,}".format(1) }}`,
	`{{ "{:01000000000,}".format(1.5) }}`,
	`{{ "%s%s%s%s" % ("A" * 20000000, "A" * 20000000, "A" * 20000000, "A" * 20000000) }}`,
	`{{ range(10000000000)|list }}`,
	`{{ range(99999)|map("string")|map("center", 100000)|list }}`,
	`{{ [1]|batch(10000000000, 0)|list }}`,
	`{{ [1]|slice(10000000000)|list }}`,
	`{{ [1]|slice(9223372036854775807, 0)|list }}`,
	`{{ 10 ** 10000000000 }}`,
	`{{ 10 ** 10 ** 10 ** 10 }}`,
	`{{ 7 ** 20000 ** 2 }}`,
	`{{ 1.5|round(10000000000) }}{{ 15|round(-10000000000) }}{{ 1.5|round(99999999, "ceil") }}`,
	`{{ (10 ** 4000) * (10 ** 4000) * (10 ** 4000) * (10 ** 4000) * (10 ** 4000) * (10 ** 4000) }}`,
	`{{ 10 ** 5000 }}`,
	`{{ "9" * 5000000|int }}{{ ("9" * 5000000)|int }}{{ ("9" * 5000000)|float }}`,
	double("ns.v + ns.v", "{{ ns.v|length }}"),
	double("ns.v ~ ns.v", "{{ ns.v|length }}"),
	double("ns.v|string + ns.v|string", ""),
	double("ns.v|tojson", "{{ ns.v }}"),
	double("ns.v|urlencode|urlencode", "{{ ns.v }}"),
	double("(ns.v|string)|e", "{{ ns.v }}"),
	double("(ns.v|string)|replace('a', 'aa')", "{{ ns.v }}"),
	double("'{0}{0}'.format(ns.v)", "{{ ns.v }}"),
	double("'%s%s' % (ns.v, ns.v)", "{{ ns.v }}"),
	double("[ns.v, ns.v]|join", "{{ ns.v }}"),
	double("dict(a=ns.v, b=ns.v)|string", "{{ ns.v }}"),
	"{% set x %}A{% endset %}" + strings.Repeat("{% set x %}{{ x }}{{ x }}{% endset %}", 60) + "{{ x }}",
	"{% for i in range(100000) %}{% for j in range(100000) %}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA{% endfor %}{% endfor %}",
	"{% macro f() %}{{ varargs * 100 }}{% endmacro %}{{ f(*(range(100000)|list)) }}",
	// time
	"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
	"{% for i in range(9223372036854775800, 9223372036854775807, 10) %}{{ i }}{% endfor %}{% for i in range(100000) %}{% for j in range(100000) %}{{ '' }}{% endfor %}{% endfor %}",
	"{% for i in range(100000) if range(100000)|sum %}{% endfor %}",
	"{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% if 'b' in s %}{% endif %}{% endfor %}",
	"{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{{ s.find('b') }}{{ s.count('b') }}{{ s == s ~ '' }}{% endfor %}",
	"{% set s = 'aé' * 1000000 %}{% for i in range(100000) %}{{ s[999999] }}{% endfor %}",
	"{% set s = 'é' * 1000000 %}{% for i in range(100000) %}{{ s|length }}{% endfor %}",
	"{% set s = 'é' * 1000000 %}{% for i in range(100000) %}{{ s.isalpha() }}{{ s.islower() }}{{ s.isascii() }}{% endfor %}",
	"{% set s = ' ' * 1000000 %}{% for i in range(100000) %}{{ s.strip() }}{{ s|trim }}{{ s.split() }}{% endfor %}",
	"{% set s = 'a' * 100000 %}{% for i in range(100000) %}{{ s.strip('bcdefghijklmnopqrstuvwxyz' * 10 ~ 'a') }}{% endfor %}",
	"{% set l = range(100000)|list %}{% for i in l %}{% if -1 in l %}{% endif %}{% endfor %}",
	"{% set l = range(100000)|list %}{% for i in l %}{{ l.index(99999) }}{{ l.count(1) }}{{ l|sum }}{{ l|max }}{{ l|first }}{% endfor %}",
	"{% set l = range(100000)|list %}{% for i in l %}{{ l|sort|length }}{{ l|unique|list|length }}{{ l|groupby(0)|length }}{% endfor %}",
	"{% set l = range(100000)|list %}{% for i in l %}{% set x = l[::-1] %}{% set x = l + l %}{% endfor %}",
	"{% set l = range(100000)|map('string')|list %}{% for i in l %}{{ l|join|length }}{{ l|tojson|length }}{% endfor %}",
	"{% set x = 10 ** 4000 %}{% for i in range(100000) %}{% set y = x * x // x % x %}{% endfor %}",
	"{% set x = 10 ** 4000 %}{% for i in range(100000) %}{{ x }}{% endfor %}",
	"{% set x = 3 %}{% for i in range(100000) %}{% set y = x ** 40000 %}{% endfor %}",
	"{% set x = '9' * 4000 %}{% for i in range(100000) %}{% set y = x|int %}{% endfor %}",
	"{% set d = dict() %}{% for i in range(100000) %}{% set d = dict(messages|map(attribute='role')|map('list')) %}{% endfor %}",
	"{% set s = '<b>' * 100000 %}{% for i in range(100000) %}{{ s|striptags }}{{ s|wordcount }}{% endfor %}",
	"{% set s = '<' * 1000000 %}{{ s|striptags }}{{ ('<!--' * 100000)|striptags }}",
	"{% set s = 'a ' * 500000 %}{{ s|wordwrap(1) }}{{ s|title }}{{ ('a' * 1000000)|wordwrap(1) }}{{ ('-' * 1000000)|wordwrap(3) }}",
	"{% for i in range(100000) %}{{ strftime_now('%c' * 1000) }}{% endfor %}",
	"{% set c = cycler(*range(100000)) %}{% for i in range(100000) %}{{ c.next() }}{{ c.items|length }}{{ c }}{% endfor %}",
	"{% set ns = namespace(n=0) %}{% for i in range(100000) %}{% for j in range(100000) %}{% set ns.n = ns.n + 1 %}{% if ns.n > 99999999 %}{% break %}{% endif %}{% endfor %}{% endfor %}",
	strings.Repeat("{% for i in range(99999) %}", 9) + strings.Repeat("{% endfor %}", 9),
	strings.Repeat("{{ 1 }}", 20000),
	strings.Repeat("{# #}", 20000) + strings.Repeat("{% raw %}", 10000),
	strings.Repeat("{% raw %}{% endraw %}", 5000),
	strings.Repeat("{%", 50000), strings.Repeat("{{", 50000), strings.Repeat("{#", 50000), strings.Repeat("{% ", 50000),
	strings.Repeat("\n", 100000) + "{%- x", strings.Repeat(" {% if 1 %}", 9000),
	"{{ '" + strings.Repeat(`\`, 100000), "{{ '" + strings.Repeat(`\x`, 50000) + "' }}",
	"{{ " + strings.Repeat("9", 100000) + " }}", "{{ 0x" + strings.Repeat("f", 100000) + " }}", "{{ 1e" + strings.Repeat("9", 100000) + " }}", "{{ 1" + strings.Repeat("_1", 50000) + " }}",
	strings.Repeat("a", 2000000),
	"{% macro f(" + many("a%d") + ") %}{% endmacro %}{% for i in range(99999) %}{{ f() }}{% endfor %}",
	"{% for i in range(99999) %}{{ namespace(" + many("a%d=1") + ") }}{% endfor %}",
	"{% macro f(" + many("a%d") + ") %}{% endmacro %}{{ f(" + many("a%d=1") + ") }}",
}

// TestHostile runs templates that want to crash, to hang or to fill the memory.
// Each ends with a text or an error, and allocates no more than a few times what
// it is given, which is less than usual to save time.
func TestHostile(t *testing.T) {
	variables := load(t, "templates.json").variables(t, "multi")
	given := limits{steps: enough.steps / 10, bytes: enough.bytes / 4}
	for i, source := range hostile {
		name := fmt.Sprintf("%d: %.150s", i, source)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		text := ""
		template, err := Parse(source)
		if err == nil {
			text, err = template.render(t.Context(), variables, given)
		}
		runtime.ReadMemStats(&after)
		require.NotErrorIs(t, err, errInternal, name)
		require.LessOrEqual(t, len(text), maxText, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(512<<20), name)
	}
}

// TestLongText refuses a text that would be too much work for a tokenizer.
func TestLongText(t *testing.T) {
	for source, limit := range map[string]bool{
		fmt.Sprintf("{{ 'a' * %d }}", maxText):                                     false,
		fmt.Sprintf("{{ 'a' * %d }}b", maxText):                                    true,
		fmt.Sprintf("{%% set x %%}{{ 'a' * %d }}{%% endset %%}{{ x }}", maxText+1): true,
		fmt.Sprintf("{%% filter indent(%d) %%}a\nb\n{%% endfilter %%}", maxText):   true,
	} {
		template, err := Parse(source)
		require.NoError(t, err, source)
		_, err = template.Render(t.Context(), nil)
		if limit {
			require.ErrorIs(t, err, ErrLimit, source)
		} else {
			require.NoError(t, err, source)
		}
	}
}

// FuzzRender renders templates with little time and memory: none may do more
// than give a text or an error.
func FuzzRender(f *testing.F) {
	for _, golden := range load(f, "templates.json").Templates {
		f.Add(golden.Template)
	}
	constructs := load(f, "constructs.json")
	for i := 0; i < len(constructs.Templates); i += 10 {
		f.Add(constructs.Templates[i].Template)
	}
	for _, source := range hostile {
		if len(source) < 1000 {
			f.Add(source)
		}
	}
	variables := constructs.variables(f, "tools")
	little := limits{steps: 20_000, bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, source string) {
		template, err := Parse(source)
		require.NotErrorIs(t, err, errInternal)
		if err != nil {
			return
		}
		text, err := template.render(t.Context(), variables, little)
		require.NotErrorIs(t, err, errInternal)
		require.LessOrEqual(t, len(text), little.bytes)
	})
}

// TestInterrupt ends a long rendering by its context.
func TestInterrupt(t *testing.T) {
	template, err := Parse("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = template.Render(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
}
