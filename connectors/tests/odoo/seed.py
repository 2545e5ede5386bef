"""Fills a fresh Odoo 11 database with what the tests expect. Read by `odoo shell`, which has given it `env`."""

leu = env['res.currency'].with_context(active_test=False).search([('name', '=', 'RON')])
leu.active = True
company = env.ref('base.main_company')
company.write({'name': 'AllAI Demo SRL', 'currency_id': leu.id})
env['product.pricelist'].search([]).write({'currency_id': leu.id})

# Two users: one that may do what the connector does, and one that may do next to nothing.
groups = ['base.group_user', 'base.group_partner_manager', 'sales_team.group_sale_salesman_all_leads', 'stock.group_stock_user']
for login, ids in [('allai', [env.ref(group).id for group in groups]), ('limited', [env.ref('base.group_user').id])]:
    env['res.users'].with_context(no_reset_password=True).create({
        'name': login, 'login': login, 'password': 'pw-Demo-2-' + login, 'email': login + '@example.com',
        'groups_id': [(6, 0, ids)]})

vat = env['account.tax'].create({'name': 'TVA 21 %', 'amount': 21, 'type_tax_use': 'sale'})
wh = env['stock.warehouse'].search([], limit=1)
wh.name = 'Depozit central'
clj = env['stock.warehouse'].create({'name': 'Depozit Cluj', 'code': 'CLJ'})
kilogram = env.ref('product.product_uom_kgm')
kilogram.rounding = 0.001


def product(sku, name, price, stock=(), kind='product', **more):
    values = {'name': name, 'default_code': sku, 'type': kind, 'list_price': price, 'taxes_id': [(6, 0, [])]}
    values.update(more)
    record = env['product.product'].create(values)
    for warehouse, quantity in stock:
        env['stock.change.product.qty'].create({
            'product_id': record.id, 'product_tmpl_id': record.product_tmpl_id.id,
            'location_id': warehouse.lot_stock_id.id, 'new_quantity': quantity}).change_product_qty()
    return record


pump = product('PH-1000', 'Pompa de caldura 10 kW', 8999.00, [(wh, 7), (clj, 3)], taxes_id=[(6, 0, [vat.id])])
product('FT-200', 'Filtru aer 200 mm', 45.50, [(wh, 120)], barcode='5901234123457')
product('CZ-24', 'Centrala termica 24 kW', 3499.99)
product('CU-1', 'Cupru la kilogram', 12.5, [(wh, 0.1), (clj, 0.2)], uom_id=kilogram.id, uom_po_id=kilogram.id)
product('SV-1', 'Montaj pompa', 500, kind='service')
product('NP-1', 'Fara pret', 0)
product('DUP-1', 'Supapa veche', 10)
product('DUP-1', 'Supapa noua', 20)
product('100%_\\', 'Teava 100% PVC_2 \\ "dubla"', 12.34, [(wh, 5)])
product('["code","ilike","%"]', 'Domeniu', 1)
product("x'; DROP TABLE product_product; --", 'Robert', 1)
product(False, 'Produs fara cod', 1)

# Two pumps of the first warehouse are promised to somebody.
picking = env['stock.picking'].create({
    'picking_type_id': wh.out_type_id.id, 'location_id': wh.lot_stock_id.id,
    'location_dest_id': env.ref('stock.stock_location_customers').id,
    'move_lines': [(0, 0, {
        'name': 'two', 'product_id': pump.id, 'product_uom_qty': 2, 'product_uom': pump.uom_id.id,
        'location_id': wh.lot_stock_id.id, 'location_dest_id': env.ref('stock.stock_location_customers').id})]})
picking.action_confirm()

# A pricelist: 10 % less, from ten pieces 20 %.
env['product.pricelist'].create({'name': 'Angro', 'currency_id': leu.id, 'item_ids': [
    (0, 0, {'applied_on': '3_global', 'compute_price': 'percentage', 'percent_price': 10}),
    (0, 0, {'applied_on': '3_global', 'compute_price': 'percentage', 'percent_price': 20, 'min_quantity': 10})]})

Partner = env['res.partner']
for name, more in [
        ('Maria Ionescu', {'email': 'Maria.Ionescu@Example.ro', 'mobile': '+40 722 000 111'}),
        ('Dublu Unu', {'email': 'dublu@example.ro'}),
        ('Dublu Doi', {'email': 'dublu@example.ro'}),
        ('Wildcard', {'email': 'a_b%c@example.ro'}),
        ('Not a wildcard', {'email': 'axbyc@example.ro'}),
        ('Arhivat', {'email': 'arhivat@example.ro', 'ref': 'allai:arhivat', 'active': False})]:
    Partner.create(dict(more, name=name))
for number in range(350):
    Partner.create({'name': 'Mass %03d' % number})
env['crm.lead'].create({'name': 'Prin poarta', 'email_from': '"Ana Pop" <Ana.Pop@Example.ro>'})
env['crm.lead'].create({'name': 'Castigat', 'email_from': 'castigat@example.ro', 'probability': 100})

# As an import leaves them: many of one second, at microseconds that are not in the order of their ids, and some that were never
# stamped. Long ago, lest they count as fresh.
env.cr.execute("""update res_partner set create_date = '2026-01-05 08:00:00',
    write_date = timestamp '2026-01-06 09:00:00' + ((id * 7919) % 1000) * interval '1 millisecond' where name like 'Mass %'""")
env.cr.execute("update res_partner set write_date = null where name in ('Mass 000', 'Mass 001')")
env.cr.commit()
