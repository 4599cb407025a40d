#include <stdio.h>
#include <string.h>

#include "choices.h"
#include "history.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define ONE_OF(array) ((array)[draw(COUNT(array))])

/*
 * The texts are such that libmilter and the Go binding agree on them. The binding also refuses what libmilter takes and an
 * MTA misreads (a NUL, CR or LF in an address, a value whose second line begins a new field): not here.
 *
 * smfi_* want char *, and do not write.
 */
static char long_line[981], longest_line[982], long_value[1001], huge_value[70001];

/* smfi_replacebody gets pieces of this. */
static unsigned char body[200000 + 256];

static void fill(char *text, size_t size)
{
	memset(text, 'x', size - 1);
	text[size - 1] = '\0';
}

void choices_setup(void)
{
	fill(long_line, sizeof(long_line));
	fill(longest_line, sizeof(longest_line));
	fill(long_value, sizeof(long_value));
	fill(huge_value, sizeof(huge_value));
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (unsigned char)(i * 7 + i / 251);
}

void look_at_macros(SMFICTX *ctx)
{
	static char *const names[] = {"j",  "_", "i", "{i}", "x", "{x}", "{client_addr}", "{auth_authen}",
				      "{mail_addr}", "{rcpt_addr}", "{none}"};

	for (size_t i = 0; i < COUNT(names); i++)
		mix_text(smfi_getsymval(ctx, names[i]));
}

/* The binding's "" is NULL where libmilter distinguishes the two. */
static char *or_null(char *text)
{
	return *text == '\0' ? NULL : text;
}

static char *choose_line(void)
{
	static char two_lines[] = "two\r\nlines";
	static char *const lines[] = {"", "No.", "100%% \xe9\xff", long_line};
	uint32_t special = draw(200);

	if (special == 0)
		return longest_line; /* one byte too long */
	if (special == 1)
		return two_lines;
	return ONE_OF(lines);
}

static char *choose_rcode(void)
{
	static char *const codes[] = {"450", "451", "421", "499", "550", "554", "552", "599"};
	static char *const wrong[] = {"", "250", "55", "5555", "5x0", "45\xb2"};

	return draw(12) == 0 ? ONE_OF(wrong) : ONE_OF(codes);
}

static char *choose_xcode(void)
{
	static char *const codes[] = {"", "", "4.7.1", "5.7.1", "2.0.0", "5.123.456"};
	static char *const wrong[] = {"5.7", "6.1.1", "5.1234.1", "5.7.1 ", "5..1"};

	return or_null(draw(12) == 0 ? ONE_OF(wrong) : ONE_OF(codes));
}

static void choose_setreply(SMFICTX *ctx)
{
	char *rcode = choose_rcode();
	char *xcode = choose_xcode();
	char *message = or_null(choose_line());

	note_call("smfi_setreply", smfi_setreply(ctx, rcode, xcode, message) == MI_SUCCESS);
}

/* 33 lines are one too many. */
static void choose_setmlreply(SMFICTX *ctx)
{
	char *rcode = choose_rcode();
	char *xcode = choose_xcode();
	char *l[33] = {NULL};
	uint32_t count = 1 + draw(COUNT(l));
	int ret;

	for (uint32_t i = 0; i < count; i++)
		l[i] = choose_line();
	ret = smfi_setmlreply(ctx, rcode, xcode, l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], l[8], l[9], l[10], l[11],
			      l[12], l[13], l[14], l[15], l[16], l[17], l[18], l[19], l[20], l[21], l[22], l[23], l[24],
			      l[25], l[26], l[27], l[28], l[29], l[30], l[31], l[32], (char *)NULL);
	note_call("smfi_setmlreply", ret == MI_SUCCESS);
}

void choose_reply(SMFICTX *ctx)
{
	uint32_t kind = draw(100);

	if (kind < 10)
		choose_setreply(ctx);
	else if (kind < 18)
		choose_setmlreply(ctx);
}

static char *choose_name(void)
{
	static char *const names[] = {"X-Filtered", "Subject", "X-\xe9", "Received", ""};

	return ONE_OF(names);
}

static char *choose_value(void)
{
	static char *const values[] = {"", "yes", " a\n\tb\n c", "\xe9\xff 8-bit", long_value};

	return draw(40) == 0 ? huge_value : ONE_OF(values);
}

static int choose_index(void)
{
	static const int indexes[] = {0, 1, 2, 65536, 2147483647, -1};

	return ONE_OF(indexes);
}

static char *choose_address(void)
{
	static char *const addresses[] = {"<a@example.org>", "<>", "<\xe9@example.org>", long_value, ""};

	return ONE_OF(addresses);
}

static char *choose_args(void)
{
	static char *const args[] = {"", "RET=HDRS ENVID=x", "NOTIFY=NEVER ORCPT=rfc822;\xe9"};

	return or_null(ONE_OF(args));
}

static char *choose_reason(void)
{
	static char *const reasons[] = {"policy", "100% \xe9", long_value, ""};

	return ONE_OF(reasons);
}

/* The binding has a second function, which reads the body from a stream: the Go filter draws which one it calls. */
static int choose_replacebody(SMFICTX *ctx)
{
	static const int lengths[] = {0, 1, 100, 100, 1000, 1000, 5000, 65534, 65535, 65536, 131070, 200000};
	int length = ONE_OF(lengths);
	uint32_t offset = draw(256);

	(void)draw(2);
	return smfi_replacebody(ctx, length == 0 ? NULL : body + offset, length);
}

bool gives_space;

/* As the binding, where it has asked for SMFIP_HDR_LEADSPC by itself. */
static char *with_space(char *value)
{
	static char spaced[sizeof(huge_value) + 1];

	if (!gives_space)
		return value;
	snprintf(spaced, sizeof(spaced), " %s", value);
	return spaced;
}

static void choose_change(SMFICTX *ctx)
{
	char *name, *value, *address;
	int index;

	switch (draw(10)) {
	case 0:
		name = choose_name();
		value = choose_value();
		note_call("smfi_addheader", smfi_addheader(ctx, name, with_space(value)) == MI_SUCCESS);
		break;
	case 1:
		name = choose_name();
		index = choose_index();
		value = choose_value();
		note_call("smfi_chgheader", smfi_chgheader(ctx, name, index, *value == '\0' ? NULL : with_space(value)) == MI_SUCCESS);
		break;
	case 2:
		index = choose_index();
		name = choose_name();
		value = choose_value();
		note_call("smfi_insheader", smfi_insheader(ctx, index, name, with_space(value)) == MI_SUCCESS);
		break;
	case 3:
		address = choose_address();
		note_call("smfi_chgfrom", smfi_chgfrom(ctx, address, choose_args()) == MI_SUCCESS);
		break;
	case 4:
		note_call("smfi_addrcpt", smfi_addrcpt(ctx, choose_address()) == MI_SUCCESS);
		break;
	case 5:
		address = choose_address();
		note_call("smfi_addrcpt_par", smfi_addrcpt_par(ctx, address, choose_args()) == MI_SUCCESS);
		break;
	case 6:
		note_call("smfi_delrcpt", smfi_delrcpt(ctx, choose_address()) == MI_SUCCESS);
		break;
	case 7:
		note_call("smfi_replacebody", choose_replacebody(ctx) == MI_SUCCESS);
		break;
	case 8:
		note_call("smfi_quarantine", smfi_quarantine(ctx, choose_reason()) == MI_SUCCESS);
		break;
	case 9:
		note_call("smfi_progress", smfi_progress(ctx) == MI_SUCCESS);
		break;
	}
}

void choose_changes(SMFICTX *ctx)
{
	for (uint32_t count = draw(7); count > 0; count--)
		choose_change(ctx);
}

void choose_symlists(SMFICTX *ctx)
{
	static char *const lists[] = {"", "i", "j {client_addr}", "{mail_addr} i x"};

	if (draw(4) != 0)
		return;
	for (uint32_t count = draw(6); count > 0; count--) {
		int stage = (int)draw(SMFIM_LAST + 3) - 1; /* one below, one above what there is */

		note_call("smfi_setsymlist", smfi_setsymlist(ctx, stage, ONE_OF(lists)) == MI_SUCCESS);
	}
}

sfsistat choose_status(unsigned int percent)
{
	static const sfsistat others[] = {SMFIS_REJECT, SMFIS_TEMPFAIL, SMFIS_DISCARD,
					  SMFIS_ACCEPT, SMFIS_NOREPLY,  SMFIS_SKIP};

	return draw(100) < percent ? SMFIS_CONTINUE : ONE_OF(others);
}
