"""Short English sentences of many kinds with the places of their personal data: a second labelled set of `pii_scan`.

Letters, chats, forms and address blocks; names, numbers and addresses of many countries, most phone numbers in no plan
at all, cards of every network. Wording and values are our own, everything is generated from a seed.
"""

# ruff: noqa: E501, SIM905 - lists of words
import random
from collections.abc import Callable

from corpora.tickets import Ticket, card_number, filled, iban_number

_FIRST = "Amara Aoife Beatriz Birgit Carlos Chiara Dagmar Dmitri Elif Emeka Eszter Fatou Femke Giulia Hamza Hana Håkon Ines Ivana Jan Jelena Jorge Kenji Klára Laila Leif Ludovic Maëlle Magda Mehmet Milan Nadia Niamh Noor Olga Oskar Pilar Pradeep Quentin Rania Raúl Renée Sanna Saoirse Sofía Søren Tadeusz Thandi Tomasz Ulrike Vikram Wei Xiomara Yara Yusuf Zuzana Alice George Margaret Walter Denise Howard Phyllis Stanley".split()
_LAST = "Abebe Andersen Bianchi Bondarenko Castillo Cohen Dąbrowski Demir Eriksson Fernandes García Grünwald Haddad Horváth Ivanov Jansen Kaplan Kimura Kovačević Lefèvre Lindholm MacLeod Mbeki Moretti Murphy Nakamura Novotný O'Connor Okonkwo Olsen Papadakis Pereira Petrović Quintero Rahman Ricci Rojas Santos Schäfer Sharma Silva Svensson Takahashi Tremblay Ungureanu Vargas Virtanen Weber Wójcik Xu Yılmaz Zhang Baker Collins Foster Griffin Hayes Jenkins Palmer Wheeler".split()
_PLACES = "Lisbon Gdańsk Osaka Portland Nairobi Marseille Tampere Leeds Bogotá Izmir Winnipeg Ghent Adelaide Porto Galway Brno Lyon Tulsa Utrecht Cork".split()
_STREETS = "Harbour Street|Mill Lane|Rue des Lilas|Via Roma|Lindenweg|Calle Mayor|Oak Avenue|Station Road|Kungsgatan|Elm Drive".split("|")
_ORGS = "Harrow & Finch Ltd|Blue Lantern Media|Kestrel Bank|Orchid Freight|Nordlys Energi|Tidewater Clinic|Pine Hill College|Vexel Systems".split("|")
_PHONE_SHAPES = (
    "##########", "###-###-####", "(###) ###-####", "(###)###-####", "###.###.####", "### ### ####", "### ####", "0## ### ####",
    "0#### ######", "07### ### ###", "(0#####) ######", "0#-########", "0# ## ## ## ##", "0#.##.##.##.##", "## ### ## ##", "#### ####",
    "## ######", "+## # ## ## ## ##", "+## (0)## ### ## ##", "+## ## ### ####", "+1 ### ### ####", "+44##########", "+91##########",
    "###-###-####x###", "(##) ####-####", "0###-#######", "001-###-###-####",
)  # fmt: skip
_CARDS = (("4", 16), ("4", 13), ("4", 19), ("52", 16), ("2221", 16), ("2699", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16), ("3528", 16), ("36", 14), ("3010", 14), ("5018", 12), ("5038", 16), ("6304", 12), ("6759", 18), ("1800", 15), ("2131", 15))

_TEMPLATES = (
    "My name is {PERSON} and I would like to close the account.", "My name is {FIRST}, I wrote to you last week.",
    "This is {PERSON} again, nobody answered so far.", "Is {FIRST} in the office today?", "{FIRST}: did you see the invoice?\n{FIRST}: not yet",
    "Please add {PERSON} as the second holder.", "Dr. {PERSON} signed the report.", "Hi {FIRST}, thanks for the quick reply!", "Dear Mr. {LAST}, your parcel is on its way.",
    "Tell Mrs {LAST} that we are closed on Friday.", "I spoke with {PERSON} from {ORGANIZATION}.", "{PERSON}\n{STREET}\n{LOCATION}", "Name: {PERSON}\nPhone: {PHONE_NUMBER}\nMail: {EMAIL_ADDRESS}",
    "Best regards,\n{PERSON}", "Thanks, {FIRST}", "The contract was sent to {PERSON}, {ORGANIZATION}, {LOCATION}.", "When did {PERSON} move to {LOCATION}?",
    "Everybody calls me {FIRST}, but my passport says {PERSON}.", "{PERSON} lives at {STREET}, {LOCATION}.", "Could {PERSON} or {PERSON} take the shift?",
    "Call me on {PHONE_NUMBER} after six.", "Can you ring {PHONE_NUMBER} and ask for {FIRST}?", "You can reach us at {PHONE_NUMBER}.", "My new mobile is {PHONE_NUMBER}, please update it.",
    "Tel {PHONE_NUMBER}, Fax {PHONE_NUMBER}", "{PHONE_NUMBER} is not my number any more.", "Her phone number is {PHONE_NUMBER}.", "I tried {PHONE_NUMBER} twice, no answer.",
    "Text me at {PHONE_NUMBER} when you arrive.", "{PHONE_NUMBER} office\n{PHONE_NUMBER} mobile", "Please stop sending messages to {PHONE_NUMBER}.", "WhatsApp: {PHONE_NUMBER}",
    "The hotline {PHONE_NUMBER} keeps me waiting.", "Send the code to {PHONE_NUMBER}.", "emergency contact {PERSON} {PHONE_NUMBER}",
    "My card {CREDIT_CARD} was declined.", "Block {CREDIT_CARD} at once, it was stolen!", "card no. {CREDIT_CARD} exp 04/27", "Why was {CREDIT_CARD} charged twice?", "I paid with {CREDIT_CARD}, order 4471-20.",
    "Refund to IBAN {IBAN_CODE} please.", "account {IBAN_CODE}, holder {PERSON}", "Write to {EMAIL_ADDRESS}.", "{EMAIL_ADDRESS} bounced, try {EMAIL_ADDRESS}", "login of {EMAIL_ADDRESS} from {IP_ADDRESS}",
    "blocked {IP_ADDRESS} after 20 attempts", "SSN {US_SSN}, date of birth on file", "his social security number: {US_SSN}",
    "The ticket 2024-118-7731 is still open.", "Version 10.4.2 crashes on start.", "Order 1234567890 shipped, 3 of 12 boxes.", "What are your opening hours on 24/12/2025?", "Total 1,204.50 for 17 items, tax 19 %.",
    "Call me when it is done, ref 20240117-000482.", "The meeting moved from 10:30 to 14:00 in room 2.117.", "I do not like this tone.", "Serial SN-2231-9983-1182-7756 on the label.", "Dear Customer, your feedback matters.",
    "Is the phone 2019-2020 model still sold?", "Contact support about case 55 018 221.",
)  # fmt: skip


def _shaped(r: random.Random) -> str:
    text = "".join(r.choice("0123456789") if c == "#" else c for c in r.choice(_PHONE_SHAPES))
    return text if text[0] != "+" or text[1] != "0" else f"+4{text[2:]}"


def _slots(r: random.Random) -> dict[str, Callable[[], str]]:
    first, last = (lambda: r.choice(_FIRST)), (lambda: r.choice(_LAST))
    return {
        "PERSON": lambda: f"{first()} {last()}" if r.random() < 0.85 else f"{first()} {r.choice('ABCDEFGH')}. {last()}",
        "FIRST": first,
        "LAST": last,
        "ORGANIZATION": lambda: r.choice(_ORGS),
        "LOCATION": lambda: r.choice(_PLACES),
        "STREET": lambda: f"{r.choice(_STREETS)} {r.randint(1, 199)}",
        "PHONE_NUMBER": lambda: _shaped(r),
        "CREDIT_CARD": lambda: card_number(*r.choice(_CARDS), r),
        "IBAN_CODE": lambda: iban_number(r),
        "EMAIL_ADDRESS": lambda: f"{first().lower()}_{r.randint(1, 999)}@{r.choice(('example.com', 'mail.example.org', 'contoso.co.uk'))}".encode("ascii", "ignore").decode(),
        "IP_ADDRESS": lambda: ".".join(str(r.randint(128, 223)) for _ in range(4)),
        "US_SSN": lambda: f"{r.randint(100, 665)}-{r.randint(10, 99)}-{r.randint(1000, 9999)}",
    }  # fmt: skip


def sentences(count: int, seed: int) -> list[Ticket]:
    """`count` sentences; one in twenty all in lower case."""
    r = random.Random(seed)
    made = []
    for _ in range(count):
        text, labels = filled(r.choice(_TEMPLATES), _slots(r))
        text = text.lower() if r.random() < 0.05 else text
        kinds = {"FIRST": "PERSON", "LAST": "PERSON", "STREET": "LOCATION"}
        made.append(Ticket(text, tuple(label._replace(type=kinds.get(label.type, label.type)) for label in labels), False))
    return made
