"""Fills a fresh Tryton database with what the tests expect. Usage: seed.py CONFIG DATABASE FILE"""

import datetime
import sqlite3
import sys
from decimal import Decimal

from proteus import Model, Wizard, config

cfg = config.set_trytond(sys.argv[2], config_file=sys.argv[1])
today = datetime.date.today()


def one(model, domain):
    found, = Model.get(model).find(domain, limit=1)
    return found


# A company, and its currency.
leu = Model.get('currency.currency')(
    name='Leu', code='RON', symbol='lei', digits=2, rounding=Decimal('0.01'))
leu.rates.new(date=datetime.date(2020, 1, 1), rate=Decimal('1'))
leu.save()
Party = Model.get('party.party')
own = Party(name='AllAI Demo SRL')
own.save()
wizard = Wizard('company.company.config')
wizard.execute('company')
wizard.form.party = own
wizard.form.currency = leu
wizard.execute('add')
company = one('company.company', [])
User = Model.get('res.user')
cfg._context = User.get_preferences(True, {})

# Two users: one that may do what the connector does, and one that may do next to nothing.
groups = Model.get('res.group').find([('name', 'in', ['Sale Opportunity', 'Sales', 'Stock'])])
for login, with_groups in [('allai', True), ('limited', False)]:
    user = User(name=login, login=login, email=login + '@example.com')
    user.password = 'pw-Demo-2-' + login
    user.companies.append(Model.get('company.company')(company.id))
    user.company = Model.get('company.company')(company.id)
    if with_groups:
        for group in groups:
            user.groups.append(Model.get('res.group')(group.id))
    user.save()

# VAT of 21 %.
Type = Model.get('account.account.type')
kind = Type(name='Taxes', statement='balance', assets=True)
kind.save()
account = Model.get('account.account')(name='VAT', code='4427', type=kind)
account.save()
vat = Model.get('account.tax')(
    name='TVA 21 %', description='TVA 21 %', type='percentage', rate=Decimal('0.21'),
    invoice_account=account, credit_note_account=account)
vat.save()
taxed = Model.get('product.category')(name='TVA 21 %', accounting=True)
taxed.customer_taxes.append(vat)
taxed.save()

# A second warehouse.
Location = Model.get('stock.location')
wh = one('stock.location', [('code', '=', 'WH')])
lost = one('stock.location', [('type', '=', 'lost_found')])
parts = {}
for part in ['in', 'out', 'sto']:
    parts[part] = Location(name='Cluj ' + part, type='storage')
    parts[part].save()
clj = Location(
    name='Depozit Cluj', code='CLJ', type='warehouse', input_location=parts['in'],
    output_location=parts['out'], storage_location=parts['sto'], lost_found_location=lost)
clj.save()

unit = one('product.uom', [('name', '=', 'Unit')])
kilogram = one('product.uom', [('name', '=', 'Kilogram')])
Template = Model.get('product.template')
Inventory = Model.get('stock.inventory')


def product(sku, name, price, stock=(), uom=unit, kind='goods', barcode=None, category=None):
    template = Template(name=name, default_uom=uom, type=kind, salable=True)
    template.list_price = None if price is None else Decimal(price)
    template.sale_uom = uom
    if category:
        template.account_category = category
    variant = template.products[0]
    variant.suffix_code = sku
    if barcode:
        identifier = variant.identifiers.new()
        identifier.type = 'ean'
        identifier.code = barcode
    template.save()
    variant = template.products[0]
    for warehouse, quantity in stock:
        inventory = Inventory(location=warehouse.storage_location, date=today)
        line = inventory.lines.new(product=variant)
        line.quantity = quantity
        inventory.save()
        inventory.click('confirm')
    return variant


pump = product('PH-1000', 'Pompa de caldura 10 kW', '8999.00', [(wh, 7), (clj, 3)], category=taxed)
product('FT-200', 'Filtru aer 200 mm', '45.50', [(wh, 120)], barcode='5901234123457')
product('CZ-24', 'Centrala termica 24 kW', '3499.99')
product('CU-1', 'Cupru la kilogram', '0.1250', [(wh, 0.1), (clj, 0.2)], uom=kilogram)
product('SV-1', 'Montaj pompa', '500', kind='service')
product('NP-1', 'Fara pret', None)
product('DUP-1', 'Supapa veche', '10')
product('DUP-2', 'Supapa noua', '20')
product('100%_\\', 'Teava 100% PVC_2 \\ "dubla"', '12.34', [(wh, 5)])
product('["code","ilike","%"]', 'Domeniu', '1')
product("x'; DROP TABLE product_product; --", 'Robert', '1')
product(None, 'Produs fara cod', '1')

# Two pumps of the first warehouse are promised to somebody.
Move = Model.get('stock.move')
move = Move(
    product=pump, unit=unit, quantity=2, from_location=wh.storage_location,
    to_location=one('stock.location', [('type', '=', 'customer')]),
    planned_date=today, company=company, unit_price=Decimal('8999.00'), currency=leu)
move.save()

# Price lists: 10 % less, from ten pieces 20 %; and one whose prices hold the taxes.
PriceList = Model.get('product.price_list')
wholesale = PriceList(name='Angro', company=company, unit='product_default')
line = wholesale.lines.new()
line.quantity = 10
line.formula = 'list_price * 0.8'
line = wholesale.lines.new()
line.formula = 'list_price * 0.9'
wholesale.save()
retail = PriceList(name='Raft', company=company, unit='product_default', tax_included=True)
line = retail.lines.new()
line.formula = 'list_price * 1.21'
retail.save()


def party(name, *mechanisms):
    record = Party(name=name)
    for type_, value in mechanisms:
        mechanism = record.contact_mechanisms.new()
        mechanism.type = type_
        mechanism.value = value
    record.save()
    return record


party('Maria Ionescu', ('email', 'Maria.Ionescu@Example.ro'), ('mobile', '+40 722 000 111'))
party('Dublu Unu', ('email', 'dublu@example.ro'))
party('Dublu Doi', ('email', 'dublu@example.ro'))
party('Wildcard', ('email', 'a_b%c@example.ro'))
party('Not a wildcard', ('email', 'axbyc@example.ro'))
Party.create([{'name': 'Mass %03d' % number} for number in range(350)], {})

database = sqlite3.connect(sys.argv[3])
# As an import leaves them: many of one moment, written and never written. Long ago, lest they count as fresh.
# Two active products with one code, which this version would not let anybody enter.
database.execute("update product_product set code = 'DUP-1' where code = 'DUP-2'")
database.execute(
    "update party_party set create_date = '2026-01-05 08:00:00.123456', write_date = '2026-01-06 09:00:00.654321'"
    " where name like 'Mass %' and cast(substr(name, 6) as integer) < 220")
database.execute(
    "update party_party set create_date = '2026-01-06 09:00:00.654321', write_date = null"
    " where name like 'Mass %' and cast(substr(name, 6) as integer) >= 220")
database.commit()
